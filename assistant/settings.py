"""The settings: the only reader of the environment and of `.env`."""

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from assistant.errors import SettingsInvalid
from assistant.known_models import KnownModel, Price, read_models
from assistant.lanes import SMALLEST_POOL
from memory_engine.models import MAX_HITS, MAX_MESSAGES
from memory_engine.storage.database import POOL_SIZE

#: Tokens that anybody may ask for.
MAX_TOKEN_BUDGET = 1_000_000
_DATA_DIR, _DEFAULT_DATA_DIR = "MEMORY_ENGINE_DATA_DIR", Path("./memory-data")
#: What `unpriced` can say besides a model's name.
REFUSE, FREE = "refuse", "free"
_Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_ENV_FILE, _MODEL_KEY = "MEMORY_ENGINE_ENV_FILE", "OPENAI_API_KEY"


class Settings(BaseSettings):
    """What the service is told from outside; names as in the environment, in lower case."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    openai_api_key: str | None = None
    #: Any Chat Completions server.
    openai_base_url: str | None = None
    default_model: str = "gpt-6.1-terra"
    fallback_model: str = "gpt-6-luna"
    #: Old model name -> name to call, for names that the server does not list.
    model_aliases: dict[str, str] = Field(default_factory=dict)

    data_dir: Path = Field(_DEFAULT_DATA_DIR, validation_alias=_DATA_DIR)
    #: The file to read settings from in place of `.env`. Only the environment can name it.
    env_file: Path | None = Field(None, validation_alias=_ENV_FILE)
    database_url: str | None = Field(None, validation_alias="MEMORY_ENGINE_DATABASE_URL")
    #: Connections to the database that threads share; six more are opened when these are in use.
    pool_size: int = Field(POOL_SIZE, ge=SMALLEST_POOL, le=256, validation_alias="MEMORY_ENGINE_POOL_SIZE")
    chroma_url: str | None = Field(None, validation_alias="MEMORY_ENGINE_CHROMA_URL")
    #: `static`, `minilm` or `openai:MODEL`; the one that the store has unless set, `static` for a new store.
    embedder: str | None = Field(None, validation_alias="MEMORY_ENGINE_EMBEDDER")
    #: Folder that holds the minilm model, as `onnx/model.onnx` and `onnx/tokenizer.json`; Chroma's cache unless set.
    minilm_path: Path | None = Field(None, validation_alias="MEMORY_ENGINE_MINILM_PATH")
    #: Scopes of at least so many messages get a Chroma collection; smaller ones are scored exactly.
    index_threshold: int = Field(100_000, ge=1, validation_alias="MEMORY_ENGINE_INDEX_THRESHOLD")
    #: Share added to counts of the bundled tokenizer, which counts high by itself (ADR 5).
    token_margin: float = Field(0.0, ge=0, le=2, validation_alias="MEMORY_ENGINE_TOKEN_MARGIN")
    #: Seconds that one call of a model may take, and that a whole turn may.
    model_timeout: float = Field(60.0, gt=0, validation_alias="MEMORY_ENGINE_MODEL_TIMEOUT")
    turn_timeout: float = Field(120.0, gt=0, validation_alias="MEMORY_ENGINE_TURN_TIMEOUT")
    #: A file in the form of `assistant/models.toml`, whose entries stand in place of the shipped ones.
    models_file: Path | None = Field(None, validation_alias="MEMORY_ENGINE_MODELS_FILE")
    #: Dollars per million tokens by model, in place of the files' prices: input and output, or input, cached input and
    #: output.
    prices: dict[str, tuple[_Dollars, _Dollars] | tuple[_Dollars, _Dollars, _Dollars]] = Field(
        default_factory=dict, validation_alias="MEMORY_ENGINE_PRICES"
    )
    #: What a cap does with a model without a price: `refuse` it, let it pass as `free`, or count the price of the model
    #: that stands here.
    unpriced: str = Field(REFUSE, min_length=1, validation_alias="MEMORY_ENGINE_UNPRICED")
    #: Dollars that a turn, a day of a namespace and a day of a user may cost; no cap unless set.
    cap_turn: float | None = Field(None, ge=0, validation_alias="MEMORY_ENGINE_CAP_TURN")
    cap_day: float | None = Field(None, ge=0, validation_alias="MEMORY_ENGINE_CAP_DAY")
    cap_user_day: float | None = Field(None, ge=0, validation_alias="MEMORY_ENGINE_CAP_USER_DAY")
    #: A folder of agents of one's own, beside those that are shipped.
    agents_dir: Path | None = Field(None, validation_alias="MEMORY_ENGINE_AGENTS_DIR")
    #: Old `asst_…` id -> the agent that stands for it.
    assistant_ids: dict[str, str] = Field(default_factory=dict, validation_alias="MEMORY_ENGINE_ASSISTANT_IDS")
    #: Hosts that the tool http_request may ask, such as `api.example.com` or `*.example.com`; without any it is off.
    http_hosts: list[str] = Field(default_factory=list, validation_alias="MEMORY_ENGINE_HTTP_HOSTS")
    #: Whether it may ask private addresses too.
    http_private: bool = Field(False, validation_alias="MEMORY_ENGINE_HTTP_PRIVATE")
    #: The database that the tool sql_query reads; off unless set.
    sql_url: str | None = Field(None, validation_alias="MEMORY_ENGINE_SQL_URL")
    #: The model that puts summaries in better words, in the background; they are quotations unless set.
    summary_model: str | None = Field(None, validation_alias="MEMORY_ENGINE_SUMMARY_MODEL")
    #: Whether messages are kept with `[redacted: …]` in place of keys, tokens, card numbers and passwords in URLs.
    redact_secrets: bool = Field(False, validation_alias="MEMORY_ENGINE_REDACT_SECRETS")
    #: Where tiktoken keeps its tables; they are used where they are, and never fetched.
    tiktoken_cache_dir: Path | None = None
    #: False only while bound to a loopback address.
    api_keys_required: bool = Field(False, validation_alias="MEMORY_ENGINE_API_KEYS_REQUIRED")
    #: Connections at once, of all callers.
    limit_connections: int = Field(1_000, ge=1, validation_alias="MEMORY_ENGINE_LIMIT_CONNECTIONS")
    #: What a key may ask for: requests a minute, unless it has a rate of its own, and streamed replies at once; bytes
    #: of a body, messages, hits and tokens of one call.
    limit_requests: int = Field(6_000, ge=1, validation_alias="MEMORY_ENGINE_LIMIT_REQUESTS")
    #: Requests a minute of all keys of a namespace together; as many as one key has unless set.
    limit_namespace_requests: int | None = Field(None, ge=1, validation_alias="MEMORY_ENGINE_LIMIT_NAMESPACE_REQUESTS")
    limit_streams: int = Field(32, ge=1, validation_alias="MEMORY_ENGINE_LIMIT_STREAMS")
    limit_body: int = Field(64 * 1024 * 1024, ge=1, validation_alias="MEMORY_ENGINE_LIMIT_BODY")
    limit_messages: int = Field(MAX_MESSAGES, ge=1, le=MAX_MESSAGES, validation_alias="MEMORY_ENGINE_LIMIT_MESSAGES")
    limit_k: int = Field(MAX_HITS, ge=1, le=MAX_HITS, validation_alias="MEMORY_ENGINE_LIMIT_K")
    limit_token_budget: int = Field(
        MAX_TOKEN_BUDGET, ge=1, le=MAX_TOKEN_BUDGET, validation_alias="MEMORY_ENGINE_LIMIT_TOKEN_BUDGET"
    )

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource, dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:  # fmt: skip
        """Read arguments first, then the environment, then the one file that may be read.

        Raises:
            SettingsInvalid: the file that MEMORY_ENGINE_ENV_FILE names is missing.
        """
        given = init_settings()
        named = given.get(_DATA_DIR, given.get("data_dir"))
        file = settings_file(os.environ, None if named is None else Path(str(named)))
        return init_settings, env_settings, DotEnvSettingsSource(settings_cls, env_file=file)

    @field_validator("data_dir", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        if isinstance(value, str) and not value.strip():  # it would be the current folder
            raise ValueError("it is empty")
        return value

    @field_validator("models_file")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        read_models(value)  # while an error can still name the setting
        return value

    @field_validator("unpriced")
    @classmethod
    def _priced(cls, value: str, known: ValidationInfo) -> str:
        models = read_models(known.data.get("models_file"))
        is_priced = value in known.data.get("prices", {}) or (value in models and models[value].price is not None)
        if value not in (REFUSE, FREE) and not is_priced:
            raise ValueError(f"{value!r} is neither refuse nor free nor a model with a price")
        return value

    @cached_property
    def models(self) -> Mapping[str, KnownModel]:
        """Prices, switch-off dates and replacements by model."""
        return read_models(self.models_file)

    def price_of(self, model: str) -> Price | None:
        """Return the price of a model, or None if none is known."""
        if (given := self.prices.get(model)) is not None:
            cached = given[1] if len(given) == 3 else None
            return Price(input=given[0], cached_input=cached, output=given[-1])
        return self.models[model].price if model in self.models else None

    @property
    def has_cap(self) -> bool:
        """Whether any spend cap is set."""
        return any(cap is not None for cap in (self.cap_turn, self.cap_day, self.cap_user_day))

    @cached_property
    def has_model(self) -> bool:
        """Whether a model can be called; without one the offline responder answers."""
        return bool(self.openai_api_key or self.openai_base_url)


def settings_file(environment: Mapping[str, str], data_dir: Path | None) -> Path | None:
    """Return the one file that settings are read from besides the environment, or None.

    A folder that a person merely works in must not say where a model key of the environment is sent. So the `.env` of
    the current folder, and of the default data directory in it, is read only while the environment has no model key.

    Args:
        environment: the variables of the process.
        data_dir: the data directory, if an argument names it.

    Raises:
        SettingsInvalid: the file that MEMORY_ENGINE_ENV_FILE names is missing.
    """
    variables = {name.upper(): value for name, value in environment.items() if value}
    if (named := variables.get(_ENV_FILE)) is not None:
        if not Path(named).is_file():
            raise SettingsInvalid(f"The setting {_ENV_FILE} is wrong: {named} is not a file.")
        return Path(named)
    if data_dir is None and _DATA_DIR in variables:
        data_dir = Path(variables[_DATA_DIR])
    if data_dir is not None and (data_dir / ".env").is_file():
        return data_dir / ".env"
    if _MODEL_KEY in variables:
        return None
    return next((path for path in (_DEFAULT_DATA_DIR / ".env", Path(".env")) if path.is_file()), None)


def ignored_settings_file(settings: Settings) -> Path | None:
    """Return the `.env` of the current folder if it is not read because the environment has a model key."""
    here = Path(".env")
    named = settings.data_dir if settings.data_dir != _DEFAULT_DATA_DIR else None
    used = settings_file(os.environ, named)
    has_key = any(name.upper() == _MODEL_KEY and value for name, value in os.environ.items())
    return here if has_key and used is None and here.is_file() else None


def load_settings(**overrides: object) -> Settings:
    """Read the settings of the environment and of the settings file, with these in place of theirs.

    Raises:
        SettingsInvalid: a value cannot be read; the message names it.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as exc:
        first = exc.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        why = first["msg"].removeprefix("Value error, ")
        if first["type"] == "less_than_equal":
            why = f"more than {first['ctx']['le']:,} is not taken by any call"
        raise SettingsInvalid(f"The setting {name} is wrong: {why}.") from exc
