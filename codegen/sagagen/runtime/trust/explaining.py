"""What TLS says in the words of OpenSSL, as a person may read it."""

import ssl
from collections.abc import Mapping

_WORDS: Mapping[str, str] = {
    "WRONG_VERSION_NUMBER": "the peer speaks no TLS: is SAGAGEN_TLS_DIR set on both sides?",
    "HTTP_REQUEST": "the peer speaks plain HTTP, and here is TLS",
    "UNSUPPORTED_PROTOCOL": "the peer speaks an older TLS than is allowed here",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the peer wants a newer TLS",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer showed no certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the peer wants a certificate: is SAGAGEN_TLS_DIR set on both sides?",
    "TLSV1_ALERT_UNKNOWN_CA": "the peer does not know the CA of our certificate: see its ca.pem",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the peer says that our certificate has expired",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the peer does not accept our certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the peer does not accept our certificate",
    "TLSV1_ALERT_DECRYPT_ERROR": "the peer does not accept our certificate: its key does not fit",
}


def explained(error: BaseException) -> str:
    """Why a connection failed, with what OpenSSL has to say of it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        said = str(getattr(error, "verify_message", "")) or str(error.args[-1])
        return f"the peer's certificate is not accepted: {said}"
    if isinstance(error, ssl.SSLError):
        reason = str(error.reason or "")
        return _WORDS.get(reason, str(error.args[-1]) if error.args else repr(error))
    return str(error) or type(error).__name__
