"""The description of the interface; and whatever fits it or not is answered, never with a traceback."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from served import COUNT
from tiny import Data

from shallow2deep.service.app import create_app
from shallow2deep.service.guards import Rules
from shallow2deep.service.jobs import Jobs
from shallow2deep.service.places import Places

WORDS = st.sampled_from(
    ["", "data/raw.png", "..", "a.tif", "adapt", "enhancer-train", "1", "-1", "1e9", "\0", "é" * 300]
)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, data: Data) -> tuple[TestClient, str, dict]:
    """The interface, a job that waits, and the description."""
    jobs = Jobs(Places(tmp_path_factory.mktemp("fuzz") / "root", [data.folder]))
    (jobs.places.root / "data" / "raw.png").write_bytes((data.folder / "target0_raw.png").read_bytes())
    id_ = jobs.submit("enhancer-train", COUNT).id
    app = create_app(jobs, Rules())
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False), id_, app.openapi()


def fitting(schema: dict, known: dict) -> st.SearchStrategy[Any]:
    """Values that a schema describes."""
    if "$ref" in schema:
        return fitting(known[schema["$ref"].rpartition("/")[2]], known)
    if "anyOf" in schema:
        return st.one_of([fitting(one, known) for one in schema["anyOf"]])
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    match schema.get("type"):
        case "object":
            fields = {name: fitting(one, known) for name, one in schema.get("properties", {}).items()}
            needed = {name: fields[name] for name in schema.get("required", ())}
            rest = {name: one for name, one in fields.items() if name not in needed}
            return (
                st.fixed_dictionaries(needed, optional=rest)
                if fields
                else st.dictionaries(WORDS, WORDS, max_size=3)
            )
        case "array":
            items = [fitting(one, known) for one in schema.get("prefixItems", ())]
            return (
                st.tuples(*items) if items else st.lists(fitting(schema.get("items", {}), known), max_size=3)
            )
        case "integer":
            return st.integers(-3, 300) | st.integers()
        case "number":
            return st.floats(0, 0.1) | st.floats(allow_nan=False)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
    return WORDS | st.text(max_size=20)


def anything() -> st.SearchStrategy[Any]:
    plain = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
    return st.recursive(
        plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3)
    )


def text(value: Any) -> str:
    return quote(
        json.dumps(value) if not isinstance(value, str) else value.encode("utf-8", "replace"), safe=""
    )


@given(data=st.data())
@settings(max_examples=40)
def test_whatever_is_asked_is_answered(asked: tuple[TestClient, str, dict], data: st.DataObject) -> None:
    client, id_, description = asked
    known = description["components"]["schemas"]
    routes = [(path, method) for path, found in description["paths"].items() for method in found]
    path, method = data.draw(
        st.sampled_from(
            [r for r in routes if r not in (("/jobs/{id}/events", "get"), ("/jobs/{id}", "delete"))]
        )
    )
    route = description["paths"][path][method]
    query, headers = {}, {}
    for parameter in route.get("parameters", ()):
        fits = data.draw(st.sampled_from([True, True, True, False]))
        value = data.draw(fitting(parameter["schema"], known) if fits else anything())
        if parameter["name"] == "wait_s":
            value = 0
        if parameter["in"] == "path":
            word = id_ if parameter["name"] == "id" and data.draw(st.booleans()) else text(value)
            path = path.replace(f"{{{parameter['name']}}}", word)
        elif parameter["required"] or data.draw(st.booleans()):
            query[parameter["name"]] = text(value)
    content = b""
    for kind, body in route.get("requestBody", {}).get("content", {}).items():
        headers["content-type"] = kind
        fits = data.draw(st.sampled_from([True, True, True, False]))
        value = data.draw(fitting(body["schema"], known) if fits else anything())
        content = json.dumps(value).encode("utf-8", "replace")
    address = path + "?" + "&".join(f"{name}={value}" for name, value in query.items())
    answer = client.request(method.upper(), address, content=content, headers=headers)
    assert answer.status_code < 500, (method, address, content, answer.text)
    if answer.status_code >= 400:
        assert set(answer.json()) == {"error", "kind", "exit_code"}
        assert "Traceback" not in answer.text


def test_everything_is_described(asked: tuple[TestClient, str, dict]) -> None:
    description = asked[2]
    for path, methods in description["paths"].items():
        for method, route in methods.items():
            assert route["description"], (method, path)
            assert route["tags"], (method, path)
    for name, schema in description["components"]["schemas"].items():
        assert schema.get("description") or name in ("HTTPValidationError", "ValidationError"), name
