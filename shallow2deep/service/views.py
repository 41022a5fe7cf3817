"""What the HTTP routes take and give."""

from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from shallow2deep.service.jobs import Job, JobStanding, Word


class Problem(BaseModel):
    """Why something was not done."""

    error: str = Field(description="one sentence: what came, what was expected, what to do")
    kind: str = Field(description="name of the error's class in shallow2deep.errors")
    exit_code: int = Field(description="what the command line would have ended with")


class About(BaseModel):
    """The server."""

    version: str
    max_upload: int = Field(description="bytes of a file that are taken at most")
    slots: int = Field(description="jobs that work at the same time")


class JobRequest(BaseModel):
    """A run to start."""

    command: str = Field(description="adapt or enhancer-train")
    settings: dict[str, Any] = Field(description="as in a file of settings of that command")
    name: str = Field("", max_length=200, description="for people; the command if not given")


class JobView(BaseModel):
    """A job and where it stands."""

    id: str
    name: str
    command: str
    created: float = Field(description="seconds since 1970")
    state: Word
    why: str = Field(description="why it has ended, if it is not finished")
    asked: str | None = Field(description="what was asked of its process and is not done yet")
    last: dict[str, Any] | None = Field(description="the newest event of its run")

    @classmethod
    def of(cls, job: Job, found: JobStanding) -> Self:
        run = found.run
        return cls(
            id=job.id,
            name=job.name,
            command=job.command,
            created=job.created,
            state=found.word,
            why=found.why,
            asked=run.asked if run else None,
            last=dict(run.last) if run and run.last else None,
        )


class Assignments(BaseModel):
    """Settings of a training to change."""

    assignments: list[str] = Field(
        min_length=1, max_length=100, description="each NAME=VALUE, or STAGE.NAME=VALUE"
    )


class Changed(BaseModel):
    """A change as it was recorded; null if it is still to be made."""

    change: dict[str, Any] | None


class Cleaned(BaseModel):
    """What else is in the job's folder, and stays."""

    others: list[str]


class ToldEvent(BaseModel):
    """One event of a run."""

    position: int = Field(description="give it as `since` to get what came after")
    event: dict[str, Any]


class FileView(BaseModel):
    """A file."""

    name: str
    size: int
    sha256: str | None = Field(None, description="of what has just been received")


class ImageFacts(BaseModel):
    """An image, of which only the header was read."""

    name: str
    axes: str
    shape: list[int]
    dtype: str
    voxel_size: list[float] | None = Field(description="nm along each spatial axis")
    channels: list[str]
    tile: int = Field(description="pixels of a tile along y and x")


class ModelView(BaseModel):
    """A package that jobs can take by its name."""

    name: str
    kind: str
    licence: str | None
    description: str
    size: int | None = Field(description="bytes; null if it is a folder")


class ExportRequest(BaseModel):
    """A job's network to write as a package."""

    name: str = Field(description="of the package")
    format: Literal["bioimageio", "czann"] = "bioimageio"
    step: str | None = Field(None, description="whose network, of several results")
    package: dict[str, Any] = Field(
        {}, description="authors, licence … as in the section package of settings"
    )


class PredictRequest(BaseModel):
    """A part of an image to predict."""

    job: str = Field(description="of adapt, finished")
    image: str
    step: str = Field(
        "recommended", description="recommended, forest, enhanced, segmentor, or a result's folder"
    )
    y: tuple[int, int] | None = Field(
        None, description="first pixel, and the one behind the last; all if not given"
    )
    x: tuple[int, int] | None = None
    z: int | None = Field(None, description="plane of a volume; the middle one if not given")
    margin: int = Field(64, ge=0, le=1024, description="pixels around that are seen, too")
