"""Which of BigQuery's errors pass by themselves, and what the others mean in the project's error tree.

Nothing of Google is imported before an error has to be judged.
"""

from __future__ import annotations

import os
import re
from typing import Any

from zl_assets.errors import (
    AccessDenied,
    ContractBroken,
    CostLimitExceeded,
    MissingCredential,
    QueryRefused,
    ServiceError,
    WarehouseError,
    ZlError,
)

_PASSING_STATUS = frozenset({429, 500, 502, 503, 504})
_PASSING_REASONS = frozenset(
    {
        "backendError",
        "internalError",
        "jobBackendError",
        "jobInternalError",
        "jobRateLimitExceeded",
        "rateLimitExceeded",
    }
)
_CONCURRENT = "due to concurrent update"
"""BigQuery ends one of two statements that change the same partition with status 400 and this text."""

CREDENTIALS_ADVICE = (
    "set GOOGLE_APPLICATION_CREDENTIALS to a service account's key file, or run `gcloud auth application-default login`"
)


_CREATES = (
    "`zl run --warehouse bigquery` creates datasets and tables; if the dataset exists elsewhere, set "
    "ZL_BIGQUERY_LOCATION to its location"
)


def passes_by_itself(error: BaseException) -> bool:
    """Whether the same request may succeed a moment later: 429, 5xx, broken connections, concurrent updates."""
    import requests
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import TransportError

    if isinstance(error, requests.exceptions.SSLError):
        return False
    if isinstance(error, GoogleAPICallError):
        return error.code in _PASSING_STATUS or _reason(error) in _PASSING_REASONS or _CONCURRENT in str(error)
    broken = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError, TransportError)
    return isinstance(error, (ConnectionError, *broken))


def translated(error: BaseException, *, where: str, project: str, location: str) -> ZlError | None:
    """The project's error for one that Google's client raised; None for anything else.

    Args:
        error: what was raised, after the retries.
        where: table or statement it happened at.
        project: the configured project.
        location: the configured location.
    """
    import requests
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError

    cause = error.cause if isinstance(error, RetryError) and error.cause is not None else error
    if passes_by_itself(cause) or isinstance(cause, TimeoutError | RetryError):
        return ServiceError(
            f"BigQuery did not do it in repeated attempts: {_first_line(cause)}",
            where=where,
            action="run again later; what was stored before is intact, and nothing is written twice",
        )
    if isinstance(cause, DefaultCredentialsError):
        return _no_credentials(cause, project)
    if isinstance(cause, GoogleAuthError):
        return MissingCredential(
            f"the Google credentials were not accepted: {_first_line(cause)}", where=project, action=CREDENTIALS_ADVICE
        )
    if isinstance(cause, GoogleAPICallError):
        return _of_status(cause, where=where, project=project, location=location)
    if isinstance(cause, requests.RequestException):
        return ServiceError(
            f"what answers is not BigQuery: {_first_line(cause)}",
            where=where,
            action="check ZL_BIGQUERY_API_ENDPOINT, and what stands between this machine and the network",
        )
    return None


def _no_credentials(error: BaseException, project: str) -> MissingCredential:
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if not named:
        return MissingCredential("no Google credentials were found", where=project, action=CREDENTIALS_ADVICE)
    return MissingCredential(
        f"the key file of the Google credentials is not usable: {_first_line(error)}",
        where=named,
        action="set GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account, as Google made it",
    )


def _of_status(error: Any, *, where: str, project: str, location: str) -> ZlError:
    said, reason = _first_line(error), _reason(error)
    if error.code == 401:
        return MissingCredential(
            f"the Google credentials were not accepted: {said}", where=project, action=CREDENTIALS_ADVICE
        )
    if reason == "quotaExceeded":
        return ServiceError(f"a quota of the project is used up: {said}", where=where, action="run again tomorrow")
    if error.code == 403:
        return AccessDenied(
            f"BigQuery denies access: {said}",
            where=where,
            action=f"give the account roles/bigquery.user in project {project}, and roles/bigquery.dataEditor on those "
            "of its datasets that somebody else has made",
        )
    if reason == "bytesBilledLimitExceeded":
        return CostLimitExceeded(said, where=where, action="raise ZL_BIGQUERY_MAX_BYTES if it is worth it")
    if error.code == 404:
        return WarehouseError(
            f"BigQuery does not find it in location {location}: {said}",
            where=where,
            action=_CREATES,
        )
    if error.code == 409:
        return WarehouseError(f"it exists already: {said}", where=where, action="run again")
    return WarehouseError(f"BigQuery refuses it: {said}", where=where, action="what was stored before is intact")


def refused_query(error: BaseException, sql: str) -> ZlError | None:
    """A query that BigQuery cannot run as it is written; None for any other fault."""
    from google.api_core.exceptions import BadRequest, NotFound

    if isinstance(error, BadRequest) and _reason(error) in {"invalidQuery", "invalid"}:
        return QueryRefused(_first_line(error), where=sql, action="zl status lists the tables")
    if isinstance(error, NotFound) and "table" in str(error).lower():
        return QueryRefused(_first_line(error), where=sql, action="zl status lists the tables")
    if isinstance(error, NotFound) and "dataset" in str(error).lower():
        return QueryRefused(_first_line(error), where=sql, action=_CREATES)
    return None


def refused_load(error: BaseException, table: str, errors: list[dict[str, Any]] | None) -> ZlError | None:
    """A load job that ended with errors, told with each of them; None for any other fault."""
    from google.api_core.exceptions import BadRequest

    if not isinstance(error, BadRequest):
        return None
    told = "; ".join(dict.fromkeys(str(e.get("message", e)).splitlines()[0] for e in errors or [])) or _first_line(
        error
    )
    return ContractBroken(
        f"BigQuery cannot load the rows: {told}", where=table, action="nothing was written; compare with sql/tables"
    )


def _reason(error: Any) -> str:
    details = getattr(error, "errors", None) or [{}]
    return str(details[0].get("reason", "")) if isinstance(details[0], dict) else ""


def _first_line(error: BaseException) -> str:
    message = str(getattr(error, "message", None) or error) or type(error).__name__
    return re.sub(r"^[A-Z]+ https?://\S+: ", "", message).splitlines()[0]
