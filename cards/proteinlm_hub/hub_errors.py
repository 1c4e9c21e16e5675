"""What the Hub's refusals and failures mean, and which of them go away by themselves."""

from json import JSONDecodeError

import httpx2
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import parse_ratelimit_headers

from proteinlm_ext.errors import ProteinLMError

# RuntimeError: what the client makes of a failed upload of a large file. JSONDecodeError: a proxy
# answered in the Hub's place.
HubErrors = (httpx2.HTTPError, OfflineModeIsEnabled, RuntimeError, JSONDecodeError)
# 409: something else happens in the repository at this moment; after another look it is known what.
_TRANSIENT = (408, 409, 429, 500, 502, 503, 504)


def explain(error: Exception, repo_id: str, endpoint: str) -> ProteinLMError:
    """Return an error with what to do.

    Raises:
        RuntimeError: It is no failure of the Hub, but a fault in this program or its libraries.
    """
    cause = _find_cause(error)
    if isinstance(cause, OfflineModeIsEnabled):
        return ProteinLMError("HF_HUB_OFFLINE is set: unset it to reach the Hub.")
    if isinstance(cause, httpx2.TransportError):
        return ProteinLMError(f"{endpoint} did not answer: {type(cause).__name__}: {cause}.")
    if isinstance(cause, JSONDecodeError):
        return ProteinLMError(f"What answers at {endpoint} is not the Hub, or a proxy before it.")
    if not isinstance(cause, HfHubHTTPError):
        raise error
    if isinstance(cause, GatedRepoError):
        return ProteinLMError(f"{repo_id} is gated: accept its conditions at {endpoint}/{repo_id}.")
    said = f"({cause.response.status_code}: {cause.server_message or 'without a reason'})"
    match cause.response.status_code:
        case 401:
            advice = (
                f"{endpoint} does not know the token, or shows {repo_id} to nobody without one. "
                "Set HF_TOKEN, or run `hf auth login`"
            )
        case 403:
            advice = (
                f"The token has no right to do this with {repo_id}. To push, use one with write "
                f"access to {repo_id.split('/')[0]}, or --create-pr"
            )
        case 404:
            advice = (
                f"{endpoint} has no such revision of {repo_id}, or no such repository of this kind "
                "(a model is no dataset), or the token, if there is one, may not read it"
            )
        case 412:
            advice = f"Somebody else committed to {repo_id} meanwhile. Look at it, and push again"
        case status if status in _TRANSIENT:
            advice = f"{endpoint} failed"
        case _:
            advice = f"{endpoint} refused the request for {repo_id}"
    return ProteinLMError(f"{advice} {said}.")


def is_transient(error: Exception) -> bool:
    """Tell whether the same request may succeed later."""
    cause = _find_cause(error)
    if isinstance(cause, HfHubHTTPError):
        return cause.response.status_code in _TRANSIENT
    return isinstance(cause, httpx2.TransportError | JSONDecodeError)


def retry_after(error: Exception) -> float:
    """Return how many seconds the Hub asks to wait, 0 if it does not say."""
    cause = _find_cause(error)
    if not isinstance(cause, HfHubHTTPError):
        return 0
    limit = parse_ratelimit_headers(cause.response.headers)
    said = cause.response.headers.get("Retry-After", "")
    until = limit.reset_in_seconds if limit and not limit.remaining else 0
    return max(float(said) if said.isdigit() else 0, until)


def _find_cause(error: BaseException) -> BaseException:
    """Return the failed request behind an error."""
    known = httpx2.HTTPError | OfflineModeIsEnabled | JSONDecodeError
    while not isinstance(error, known) and error.__cause__:
        error = error.__cause__
    return error
