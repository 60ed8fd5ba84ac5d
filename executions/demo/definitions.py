"""The demo's automations by their fixed slugs, which are their names."""

from __future__ import annotations

from typing import Any

type Steps = list[dict[str, Any]]


def totals(key: str) -> dict[str, Any]:
    fields = {
        "id": "{{ trigger.body.id }}",
        "name": "{{ trigger.body.customer.name | upcase }}",
        "total": "{{ trigger.body.total | times: 1.2 }}",
    }
    return {"key": key, "title": "Compute the total", "connector": "transform", "action": "fields",
            "input": {"fields": fields}}  # fmt: skip


def request(key: str, title: str, **given: Any) -> dict[str, Any]:
    return {"key": key, "title": title, "connector": "http", "action": "request",
            "input": {"url": "{{ trigger.body.url }}", "fail_on_error_status": True, **given}}  # fmt: skip


def deliver(key: str, title: str, source: str) -> dict[str, Any]:
    return request(key, title, method="POST", body_type="json", body="{{ " + source + " }}")


DEFINITIONS: dict[str, tuple[str, Steps]] = {
    "transform": ("Upper-cases the customer and adds tax to the total.", [totals("order")]),
    "respond": (
        "Does the same and answers the caller.",
        [
            totals("order"),
            {
                "key": "reply",
                "title": "Answer the caller",
                "connector": "response",
                "action": "send",
                "input": {"status": 200, "body": "{{ order }}"},
            },
        ],
    ),
    "call-api": (
        "Calls the URL in the payload; a status of 4xx or 5xx fails the step.",
        [request("call", "Call the API", method="GET")],
    ),
    "chain": (
        "Shapes an order, delivers it, shapes the answer and reports it.",
        [
            totals("order"),
            deliver("deliver", "Deliver the order", "order"),
            {
                "key": "summary",
                "title": "Summarize",
                "connector": "transform",
                "action": "fields",
                "input": {"fields": {"order": "{{ order.id }}", "status": "{{ deliver.status }}"}},
            },
            deliver("report", "Report the delivery", "summary"),
        ],
    ),
    "wait": (
        "Pauses for a second without occupying a worker.",
        [
            {
                "key": "pause",
                "title": "Wait a second",
                "connector": "wait",
                "action": "for",
                "input": {"amount": 1, "unit": "seconds"},
            },
            {
                "key": "done",
                "title": "Note the time",
                "connector": "transform",
                "action": "fields",
                "input": {"fields": {"waited_until": "{{ pause.waited_until }}"}},
            },
        ],
    ),
    "email": (
        "Sends an e-mail to the address in the payload.",
        [
            {
                "key": "send",
                "title": "Send the e-mail",
                "connector": "email",
                "action": "send",
                "input": {"to": "{{ trigger.body.to }}", "subject": "Hello from AgentOS", "text": "It works."},
            },
        ],
    ),
    "broken": (
        "Has an HTTP step without a URL, activated anyway: repair the step, then retry.",
        [{"key": "call", "title": "Not configured", "connector": "http", "action": "request", "input": {}}],
    ),
    "entry-to-slack": (
        "Tells a channel that an entry was created in the CMS.",
        [
            {
                "key": "message",
                "title": "Write the message",
                "connector": "transform",
                "action": "template",
                "input": {
                    "template": "New entry “{{ trigger.body.data.entry.title }}”"
                    " in {{ trigger.body.data.content_type.title }}"
                },
            },
            request(
                "post",
                "Post to the channel",
                method="POST",
                url="{{ trigger.body.slack_url }}",
                body_type="json",
                body={"text": "{{ message.value }}"},
            ),
        ],
    ),
}
