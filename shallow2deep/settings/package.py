"""What an exported package says of its model."""

from pydantic import Field

from shallow2deep.settings.base import Settings


class AuthorSettings(Settings):
    """Someone who made a model."""

    name: str
    affiliation: str | None = None
    orcid: str | None = Field(None, description="as in 0000-0002-1825-0097")
    github_user: str | None = None


class CitationSettings(Settings):
    """What users of a model are to cite: a text with a DOI or a URL."""

    text: str
    doi: str | None = None
    url: str | None = None


_METHOD = CitationSettings(
    text="Matskevych et al. 2022, From Shallow to Deep, Frontiers in Computer Science 4",
    doi="10.3389/fcomp.2022.805166",
)


class PackageSettings(Settings):
    """What an exported package says of its model; only `s2d export` reads it."""

    title: str | None = Field(
        None, description="5 to 128 letters, digits, blanks and _+-(); the run's if not given"
    )
    description: str = "Made by shallow2deep."
    authors: tuple[AuthorSettings, ...] = Field((), description="at least one is needed to export")
    licence: str | None = Field(
        None, description="SPDX id such as CC-BY-4.0, or the terms in words; needed to export"
    )
    cite: tuple[CitationSettings, ...] = (_METHOD,)
    tags: tuple[str, ...] = ()
    git_repo: str | None = None
    validation: str = Field(
        "", description="Markdown: how well it does on which data; goes into the documentation"
    )
