"""What clients are told when a call fails, and who may call."""

import hmac
import logging
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from shallow2deep.errors import Shallow2DeepError

log = logging.getLogger(__name__)

_LONGEST = 4048  # letters, as in tiktorch
_TOKEN = "authorization"  # the name of the metadata


class UnknownSessionError(Shallow2DeepError):
    """A session that is not there, or was closed."""

    def __init__(self, id_: str):
        super().__init__(f"model-session with id {id_:.200} doesn't exist")


class Answering(grpc.ServerInterceptor):
    """Lets only those call who have the token, and turns exceptions into status codes, as tiktorch does.

    Args:
        token: given as metadata `authorization: Bearer TOKEN`; None if none is needed.
    """

    def __init__(self, token: str | None):
        self._token = token

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        handler = continuation(details)
        if handler is None:
            return handler
        given = dict(details.invocation_metadata).get(_TOKEN, "")
        expected = f"Bearer {self._token}"
        refused = self._token is not None and not hmac.compare_digest(str(given).encode(), expected.encode())
        if handler.response_streaming:
            make = grpc.unary_stream_rpc_method_handler
            work: Any = _streaming(handler.unary_stream, refused)
        elif handler.request_streaming:
            make, work = grpc.stream_unary_rpc_method_handler, _once(handler.stream_unary, refused)
        else:
            make, work = grpc.unary_unary_rpc_method_handler, _once(handler.unary_unary, refused)
        return make(work, handler.request_deserializer, handler.response_serializer)


def _once(work: Callable[[Any, grpc.ServicerContext], Any], refused: bool) -> Callable[..., Any]:
    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        _check(refused, context)
        try:
            return work(request, context)
        except Exception as error:
            _abort(error, context)

    return answer


def _streaming(
    work: Callable[[Any, grpc.ServicerContext], Iterator[Any]], refused: bool
) -> Callable[..., Any]:
    def answer(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        _check(refused, context)
        try:
            yield from work(request, context)
        except Exception as error:
            _abort(error, context)

    return answer


def _check(refused: bool, context: grpc.ServicerContext) -> None:
    if refused:
        context.abort(
            grpc.StatusCode.UNAUTHENTICATED, "give the server's token as metadata authorization: Bearer TOKEN"
        )


def _abort(error: Exception, context: grpc.ServicerContext) -> None:
    if context.code() is not None:  # refused on purpose
        raise error
    if not isinstance(error, Shallow2DeepError):
        log.error("a call failed unexpectedly", exc_info=error)
    unknown = isinstance(error, UnknownSessionError)
    code = grpc.StatusCode.FAILED_PRECONDITION if unknown else grpc.StatusCode.INTERNAL
    context.abort(code, (str(error) or type(error).__name__)[:_LONGEST])
