"""Credentials: keys and tokens by the form their issuer gives them, and values given a name.

The issuers' forms are those of detect-secrets, with some it lacks. What stands after `password:`
or `api_key =` counts when it looks like a value, not like code, a placeholder or a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

Span = tuple[int, int]

_MORE_FORMS = (
    re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,}"),
    re.compile(r"\bglpat-[\w-]{16,}"),
    re.compile(r"\bsk-(?:proj-|ant-|svcacct-)?[\w-]{16,}"),
    re.compile(r"\b[rs]k_(?:test|live)_[A-Za-z0-9]{16,}"),
    re.compile(r"\bwhsec_[A-Za-z0-9+/=]{16,}"),
    re.compile(r"\bnpm_[A-Za-z0-9]{20,}"),
    re.compile(r"\bhf_[A-Za-z0-9]{20,}"),
    re.compile(r"\bAIza[\w-]{30,}"),
    re.compile(r"\bxox[abeoprs]-[\w-]{10,}"),
)
# With the key itself where it follows.
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[A-Za-z0-9+/=\s:,-]{0,8000}?-----END (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----)?"
)
# Detectors that look for one issuer's form; entropy, keywords and IP addresses are done here.
_ISSUERS = (
    ("artifactory", "ArtifactoryDetector"), ("aws", "AWSKeyDetector"),
    ("azure_storage_key", "AzureStorageKeyDetector"), ("discord", "DiscordBotTokenDetector"),
    ("github_token", "GitHubTokenDetector"), ("gitlab_token", "GitLabTokenDetector"),
    ("jwt", "JwtTokenDetector"), ("mailchimp", "MailchimpDetector"), ("openai", "OpenAIDetector"),
    ("pypi_token", "PypiTokenDetector"), ("sendgrid", "SendGridDetector"),
    ("slack", "SlackDetector"), ("square_oauth", "SquareOAuthDetector"),
    ("stripe", "StripeDetector"), ("telegram_token", "TelegramBotTokenDetector"),
    ("twilio", "TwilioKeyDetector"),
)  # fmt: skip
_LONG = re.compile(r"\S{16}")
_IN_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@]*:(?P<value>[^\s/@]+)@")
_NAMED = re.compile(
    r"(?:pass(?:word|wd|phrase|wort)?|kennwort|contraseña|mot de passe|\bpwd|secret|token|"
    r"(?:api|access|private|auth)[ _-]?key|credential)[\w -]{0,14}?[\"']?\s*"
    r"(?::|=>|={1,2}|\bis\b|\bist\b|lautet|\bes\b|\best\b)\s*[\"']?(?P<value>[^\s\"'`,;]{6,})",
    re.IGNORECASE,
)
_CODE = re.compile(r"[()\[\]{}<>$]|\*{3}|^\w+\.\w+\.\w+$|^https?:|^/|^x{4}|://")


def secret_spans(text: str) -> Iterator[Span]:
    """Every credential in the text; spans may overlap."""
    for match in _IN_URL.finditer(text):
        if not _CODE.search(match["value"]):
            yield match.span("value")
    for match in _PRIVATE_KEY.finditer(text):
        yield match.span()
    if _LONG.search(text):
        for form in _forms():
            for match in form.finditer(text):
                yield match.span()
    for match in _NAMED.finditer(text):
        value = match["value"].rstrip(".!?:") if match["value"][-1] in ".?:" else match["value"]
        if _is_value(value):
            yield match.start("value"), match.start("value") + len(value)


def _is_value(value: str) -> bool:
    """Six characters or more with a digit and a letter, and nothing that makes it code."""
    has_both = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    return len(value) >= 6 and has_both and not _CODE.search(value)


@lru_cache(maxsize=1)
def _forms() -> tuple[re.Pattern[str], ...]:
    from importlib import import_module

    found: list[re.Pattern[str]] = list(_MORE_FORMS)
    for module, name in _ISSUERS:
        found += getattr(import_module(f"detect_secrets.plugins.{module}"), name).denylist
    return tuple(found)
