"""The front matter of a model's and of a dataset's card.

Stricter than the Hub, which drops a misspelt key in silence: unknown keys are refused.
"""

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from proteinlm_hub.metadata_types import (
    Count,
    Https,
    Language,
    Library,
    Licence,
    Mapping,
    Name,
    Names,
    Number,
    Pipeline,
    Repository,
    SplitName,
    Strict,
    matching,
    require_unique,
    to_list,
)

EMPTY = Field(default_factory=list[Any])


def _inside(value: str) -> str:
    if PurePosixPath(value).is_absolute() or ".." in PurePosixPath(value).parts:
        raise ValueError(f"{value!r} leads out of the repository")
    if not value or re.search(r"[^/]\*\*|\*\*[^/]", value):
        raise ValueError(f"{value!r} is no pattern of files")
    return value


def _config_name(value: str) -> str:
    if value == "data":
        raise ValueError("'data' is a name that datasets' push_to_hub refuses; choose another")
    if not value or set(value) & set(r'<>:/\|?*"'):
        raise ValueError(f"{value!r} is no name of a configuration")
    return value


Pattern = Annotated[str, AfterValidator(_inside)]


class Metric(Strict):
    """One number of the model index."""

    type: Name
    value: Number
    name: Name | None = None
    config: Name | None = None
    args: dict[str, Any] | None = None
    verified: bool | None = None
    verifyToken: str | None = None  # noqa: N815 - the Hub's spelling


class _IndexTask(Strict):
    type: Pipeline
    name: Name | None = None


class _IndexDataset(Strict):
    type: Repository
    name: Name
    config: Name | None = None
    split: SplitName | None = None
    revision: Name | None = None
    args: dict[str, Any] | None = None


class Link(Strict):
    """Where a number comes from."""

    url: Https
    name: Name | None = None
    user: Name | None = None
    org: Name | None = None


class IndexResult(Strict):
    """The numbers of one task on one dataset."""

    task: _IndexTask
    dataset: _IndexDataset
    metrics: Annotated[list[Metric], Field(min_length=1)]
    source: Link | None = None

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        require_unique(
            [(metric.type, metric.name) for metric in self.metrics], "metric (type, name)"
        )
        return self


class ModelIndex(Strict):
    """The results of one model."""

    name: Name
    results: Annotated[list[IndexResult], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        # huggingface_hub joins results that agree in these five, and keeps the name, args and
        # source of the first alone.
        found = [(r.task.type, r.dataset) for r in self.results]
        keys = [(task, d.type, d.config, d.split, d.revision) for task, d in found]
        require_unique(keys, "result (task, dataset, config, split, revision)")
        return self


class Emissions(Strict):
    """What the training emitted; `emissions` is in grams of CO2 equivalent."""

    emissions: Annotated[Number, Field(ge=0)]
    source: Name
    training_type: Name | None = None
    geographical_location: Name | None = None
    hardware_used: Name | None = None


class _Card(Strict):
    language: Annotated[list[Language], BeforeValidator(to_list), Field(min_length=1)]
    license: Licence
    license_name: Name | None = None
    license_link: Name | None = None
    tags: Names
    proteinlm: Mapping

    @model_validator(mode="after")
    def _named_licence(self) -> Self:
        named = (self.license_name, self.license_link)
        if self.license == "other" and not all(named):
            raise ValueError("license is 'other'; license_name and license_link have to say which")
        if self.license != "other" and any(named):
            raise ValueError(f"license_name and license_link go with 'other', not {self.license!r}")
        return self


class ModelCard(_Card):
    """The front matter of a model."""

    library_name: Library
    pipeline_tag: Pipeline
    base_model: Annotated[list[Repository], BeforeValidator(to_list), Field(min_length=1)]
    base_model_relation: Literal["adapter", "merge", "quantized", "finetune"]
    datasets: Annotated[list[Repository], EMPTY]
    metrics: Names
    new_version: Repository | None = None
    co2_eq_emissions: Emissions | None = None
    model_index: Annotated[list[ModelIndex], Field(min_length=1, max_length=1)] | None = Field(
        default=None, alias="model-index"
    )

    @model_validator(mode="after")
    def _adapter(self) -> Self:
        if (self.base_model_relation == "adapter") != (self.library_name == "peft"):
            raise ValueError(
                f"library_name {self.library_name!r} and base_model_relation "
                f"{self.base_model_relation!r} disagree; an adapter is 'peft' and 'adapter'"
            )
        return self


class DataFiles(Strict):
    """The files of one split."""

    split: SplitName
    path: Annotated[list[Pattern], BeforeValidator(to_list), Field(min_length=1)]


class Config(Strict):
    """One configuration that `load_dataset(REPO, NAME)` loads."""

    config_name: Annotated[str, AfterValidator(_config_name)]
    data_files: Annotated[list[DataFiles], Field(min_length=1)]
    default: bool = False

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        require_unique([files.split for files in self.data_files], "split")
        return self


class SplitInfo(Strict):
    """The size of one split."""

    name: SplitName
    num_examples: Count
    num_bytes: Count | None = None


class Info(Strict):
    """The columns and sizes of one configuration."""

    config_name: Name = "default"
    features: Annotated[list[dict[str, Any]], EMPTY]
    splits: Annotated[list[SplitInfo], EMPTY]
    download_size: Count | None = None
    dataset_size: Count | None = None


SIZES = {
    "n<1K": 10**3, "1K<n<10K": 10**4, "10K<n<100K": 10**5, "100K<n<1M": 10**6, "1M<n<10M": 10**7,
    "10M<n<100M": 10**8, "100M<n<1B": 10**9,
}  # fmt: skip
_Size = Annotated[str, matching("|".join(map(re.escape, SIZES)), "no size_categories of the Hub")]


class DatasetCard(_Card):
    """The front matter of a dataset."""

    pretty_name: Name | None = None
    size_categories: Annotated[list[_Size], EMPTY, BeforeValidator(to_list)]
    task_categories: Annotated[list[Pipeline], EMPTY]
    task_ids: Names
    annotations_creators: Names
    language_creators: Names
    multilinguality: Names
    source_datasets: Names
    viewer: bool | None = None
    configs: Annotated[list[Config], EMPTY]
    dataset_info: Annotated[list[Info], EMPTY, BeforeValidator(to_list)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        require_unique([config.config_name for config in self.configs], "configuration")
        require_unique([info.config_name for info in self.dataset_info], "dataset_info of")
        require_unique([True for config in self.configs if config.default], "default:")
        return self
