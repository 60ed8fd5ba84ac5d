"""What the ports of a call can fail with: an action that uses one lists these among its `errors`."""

from __future__ import annotations

from connectors.sdk.call import Failure

HTTP_FAILURES = (
    Failure("bad_url", "The URL is not one that can be called."),
    Failure("bad_request", "A header or the method cannot be sent."),
    Failure("address_not_allowed", "The address is private or reserved, and the operator has not opened it."),
    Failure("port_not_allowed", "The port is none of 80, 443 and 8000 to 8999, and the operator has not opened it."),
    Failure("cannot_resolve", "The host's name is unknown, or its name server gave no answer in time."),
    Failure("cannot_connect", "Nothing accepted the connection."),
    Failure("tls_error", "The server's certificate cannot be trusted, or TLS failed."),
    Failure(
        "timeout",
        "The service did not answer completely within the request's time limit, or other executions of the "
        "organization held all the memory for large answers meanwhile.",
    ),
    Failure("bad_response", "The answer was cut off, cannot be read, or is compressed."),
    Failure("too_large", "The answer is larger than 10 MB, or all that the execution holds needs more than 256 MB."),
    Failure("too_many_redirects", "More than 3 redirects."),
    Failure("redirect_elsewhere", "The service redirected a request with a body to another host."),
)
MAIL_FAILURES = (
    Failure("invalid_email", "A header of the e-mail cannot be written."),
    Failure("recipient_refused", "The mail server refused the recipients."),
    Failure("mail_server", "The mail server cannot be reached or did not take the e-mail."),
    Failure("email_limit", "The organization's monthly e-mail maximum is reached: Partially Executed."),
)
