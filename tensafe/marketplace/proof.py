"""Proof that whoever asks a marketplace to change something holds a creator's key.

A request is signed with both keys over what is asked, of which marketplace, and a challenge that
the marketplace gave and takes once. So a proof is worth nothing at another marketplace, for
another request, or a second time. The message's first line keeps it apart from everything else
that these keys sign.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tensafe.errors import VerificationError
from tensafe.tgsp.canonical import canonical_json
from tensafe.tgsp.keys import (
    ED25519_SIGNATURE_BYTES,
    ML_DSA_65_SIGNATURE_BYTES,
    PublicKeys,
    Signer,
    decode64,
    encode64,
    verify_ed25519,
    verify_ml_dsa_65,
)

_CONTEXT = b"tensafe marketplace action, version 1\n"
Action = Literal["register", "add-key", "join", "revoke-key", "upload", "yank"]
"""`join` is a key's consent to become one of a creator's; it comes inside that one's `add-key`."""
_Short = Annotated[str, Field(max_length=512)]


class SignedAction(BaseModel):
    """What is asked for, by which key, and its two signatures; `audience` is the marketplace."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    action: Action
    audience: _Short
    challenge: Annotated[str, Field(max_length=128)]
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    fields: Annotated[dict[str, Annotated[str, Field(max_length=16_384)]], Field(max_length=8)]
    ed25519: Annotated[str, Field(max_length=128)]
    ml_dsa_65: Annotated[str, Field(max_length=8_192)]

    def require(self, keys: PublicKeys) -> None:
        """Demand that both signatures are by these keys.

        Raises:
            VerificationError: one does not verify.
        """
        message = _message(
            self.action, self.audience, self.challenge, self.fingerprint, self.fields
        )
        try:
            first, second = decode64(self.ed25519), decode64(self.ml_dsa_65)
        except ValueError as error:
            raise VerificationError(f"a signature of the request is {error}") from error
        sizes = (len(first), len(second)) == (ED25519_SIGNATURE_BYTES, ML_DSA_65_SIGNATURE_BYTES)
        if (
            not sizes
            or keys.fingerprint != self.fingerprint
            or keys.ml_dsa_65 is None
            or not verify_ed25519(keys.ed25519, first, message)
            or not verify_ml_dsa_65(keys.ml_dsa_65, second, message)
        ):
            raise VerificationError("the request's signatures are not those of the key it names")


def sign_action(
    signer: Signer, action: Action, *, audience: str, challenge: str, **fields: str
) -> SignedAction:
    """An action signed with both of a creator's keys."""
    fingerprint = signer.public.fingerprint
    message = _message(action, audience, challenge, fingerprint, fields)
    return SignedAction(
        action=action,
        audience=audience,
        challenge=challenge,
        fingerprint=fingerprint,
        fields=fields,
        ed25519=encode64(signer.sign_ed25519(message)),
        ml_dsa_65=encode64(signer.sign_ml_dsa_65(message)),
    )


def _message(
    action: str, audience: str, challenge: str, fingerprint: str, fields: dict[str, str]
) -> bytes:
    return _CONTEXT + canonical_json(
        {
            "action": action,
            "audience": audience,
            "challenge": challenge,
            "fingerprint": fingerprint,
            "fields": dict(fields),
        }
    )
