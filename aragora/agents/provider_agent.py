"""Agents of other providers, through one library (pydantic-ai, the extra `providers`).

Nothing is sent anywhere unless the user named the provider. Keys come from the caller or from the
provider's own environment variable, and are never stored with a debate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from aragora.agents.chat_agent import ChatAgent, Completion
from aragora.agents.prompts import Style
from aragora.agents.records import AgentIdentity
from aragora.errors import AgentError, UsageError
from aragora.memory.records import Role
from tinker_engine.recipes.chat_format import ChatMessage

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.models import Model

Provider = Literal["openai", "anthropic", "gemini", "openai-compatible"]
PROVIDERS: tuple[Provider, ...] = ("openai", "anthropic", "gemini", "openai-compatible")
# For servers that ask for no key; the OpenAI client refuses to be without one.
_NO_KEY = "none"


class ProviderAgent(ChatAgent):
    """A model of a provider, or of any OpenAI-compatible server (`base_url`).

    Args:
        provider: one of `PROVIDERS`.
        model: the provider's name of the model.
        base_url: another address of the service; required for `openai-compatible`.
        api_key: None takes the provider's environment variable.

    Raises UsageError for a wrong provider, a missing address, key or extra.
    """

    def __init__(
        self,
        name: str,
        provider: Provider,
        model: str,
        role: Role = "proposer",
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        persona: str = "",
        temperature: float = 0.7,
        style: Style = "full",
    ) -> None:
        super().__init__(name, role=role, persona=persona, temperature=temperature, style=style)
        if provider not in PROVIDERS:
            raise UsageError(f"provider {provider!r} is not known; choose {', '.join(PROVIDERS)}")
        if provider == "openai-compatible" and base_url is None:
            raise UsageError("an openai-compatible agent needs base_url, as in http://host:port/v1")
        self._provider: Provider = provider
        self._model_name = model
        self._base_url = base_url
        self._model = _model(provider, model, base_url, api_key)

    def identity(self) -> AgentIdentity:
        """Provider and model; digests of others' models are not known."""
        return AgentIdentity(self._provider, self._model_name)

    async def complete(
        self, messages: Sequence[ChatMessage], *, seed: int, temperature: float, max_tokens: int
    ) -> Completion:
        """One completion; raises AgentError with the provider's own words."""
        from pydantic_ai.direct import model_request
        from pydantic_ai.exceptions import ModelAPIError, UnexpectedModelBehavior, UserError
        from pydantic_ai.settings import ModelSettings

        settings = ModelSettings(max_tokens=max_tokens, temperature=temperature)
        if self._provider in ("openai", "openai-compatible"):
            settings["seed"] = seed
        try:
            answer = await model_request(self._model, _messages(messages), model_settings=settings)
        except (ModelAPIError, UnexpectedModelBehavior, UserError) as error:
            raise AgentError(f"{self._provider} {self._model_name}: {error}") from error
        return Completion(
            text=(answer.text or "").strip(),
            prompt_tokens=answer.usage.input_tokens,
            completion_tokens=answer.usage.output_tokens,
            stop_reason="length" if answer.finish_reason == "length" else "stop",
            identity=AgentIdentity(self._provider, answer.model_name or self._model_name),
            cost_usd=_cost(answer),
        )


def _messages(messages: Sequence[ChatMessage]) -> list[ModelMessage]:
    from pydantic_ai.messages import (
        ModelRequest,
        ModelResponse,
        SystemPromptPart,
        TextPart,
        UserPromptPart,
    )

    out: list[ModelMessage] = []
    for message in messages:
        content = message["content"]
        if message["role"] == "assistant":
            out.append(ModelResponse([TextPart(content)]))
            continue
        part: Any = (
            SystemPromptPart(content) if message["role"] == "system" else UserPromptPart(content)
        )
        last = out[-1] if out else None
        if isinstance(last, ModelRequest):
            out[-1] = ModelRequest([*last.parts, part])
        else:
            out.append(ModelRequest([part]))
    return out


def _cost(answer: Any) -> float:
    """US dollars by the library's price table; 0 for models that are not in it."""
    try:
        return float(answer.cost().total_price)
    except (LookupError, AssertionError):
        return 0.0


def _model(provider: Provider, model: str, base_url: str | None, api_key: str | None) -> Model:
    try:
        from pydantic_ai.exceptions import UserError
    except ImportError as error:
        raise UsageError(
            "agents of other providers need the extra: pip install 'aragora[providers]'"
        ) from error
    try:
        if provider == "anthropic":
            from pydantic_ai.models.anthropic import AnthropicModel
            from pydantic_ai.providers.anthropic import AnthropicProvider

            return AnthropicModel(
                model, provider=AnthropicProvider(api_key=api_key, base_url=base_url)
            )
        if provider == "gemini":
            from pydantic_ai.models.google import GoogleModel
            from pydantic_ai.providers.google import GoogleProvider

            google = GoogleProvider(api_key=api_key, base_url=base_url)
            return GoogleModel(model, provider=google)
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.openai import OpenAIProvider

        key = api_key or (_NO_KEY if provider == "openai-compatible" else None)
        return OpenAIChatModel(model, provider=OpenAIProvider(base_url=base_url, api_key=key))
    except (UserError, ImportError) as error:
        raise UsageError(f"{provider}: {error}") from error
