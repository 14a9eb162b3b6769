"""What an S3-compatible store and boto3 say, in words of ours. No Django, and no boto3."""

from __future__ import annotations

from arcweb.backups.places.base import PlaceError, Unreachable

REFUSED = {
    "403": "it refuses the key of ARC_BACKUP_S3_KEY_ID, or what that key may do",
    "AccessDenied": "it refuses what the key of ARC_BACKUP_S3_KEY_ID may do",
    "InvalidAccessKeyId": "it does not know the key of ARC_BACKUP_S3_KEY_ID",
    "SignatureDoesNotMatch": "ARC_BACKUP_S3_SECRET does not fit the key, or this machine's clock is wrong",
    "RequestTimeTooSkewed": "the clock of this machine is wrong",
    "NoSuchBucket": "it has no such bucket; make it, or mend ARC_BACKUP_S3_BUCKET",
    "PermanentRedirect": "the bucket is elsewhere; mend ARC_BACKUP_S3_REGION or ARC_BACKUP_S3_ENDPOINT",
    "QuotaExceeded": "its quota is used up",
}
#: What a server says that is busy or ill.
BUSY = {"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "500", "502", "503", "504"}
GONE = {"404", "NoSuchKey", "NoSuchUpload", "NotFound"}
#: The packages whose exceptions are about the store.
OF_THE_STORE = ("botocore", "boto3", "urllib3", "s3transfer")


def code_of(error: Exception) -> str:
    """The error code of an answer of the store; "" when there was none."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return ""
    return str(response.get("Error", {}).get("Code", "") or "unknown")


def in_words(error: Exception, start: str) -> PlaceError | None:
    """The error as a sentence that begins with `start`; None for one that is not about the store.

    Nothing of the error's own text is taken over but its code: that text may hold addresses and keys.
    """
    if not type(error).__module__.startswith(OF_THE_STORE):
        return None
    code, kind = code_of(error), type(error).__name__
    if code in REFUSED:
        return PlaceError(f"{start}: {REFUSED[code]}.")
    if code in GONE:
        return PlaceError(f"{start}: it has no object or bucket of that name.")
    if code and code not in BUSY:
        return PlaceError(f"{start}: it says {code[:60]}.")
    if kind in ("NoCredentialsError", "PartialCredentialsError"):
        return PlaceError(f"{start}: set ARC_BACKUP_S3_KEY_ID and ARC_BACKUP_S3_SECRET.")
    if kind == "ParamValidationError":
        return PlaceError(f"{start}: a name among ARC_BACKUP_S3_BUCKET and ARC_BACKUP_S3_PREFIX is none.")
    return Unreachable(f"{start}: it did not answer, or not to the end ({code or kind}).")
