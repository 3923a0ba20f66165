"""The words by which providers name a failure (`code`, `type`, `reason`, `status` …), and the class each stands for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

#: class -> words that prove it, lower case. Most come with a status that says something else.
_PROVING: Final[dict[str, str]] = {
    "auth": """
        invalid_api_key incorrect_api_key invalid_authentication invalid_authentication_error authentication_error
        incorrect_api_key_error permission_error permission_denied_error unauthorized unauthorized_error forbidden
        api_key_invalid api_key_expired api_key_service_blocked api_key_http_referrer_blocked access_token_expired
        access_token_type_unsupported consumer_suspended consumer_invalid service_disabled account_deactivated
        account_disabled account_suspended organization_deactivated token_expired invalid_token expired_token
        access_terminated_error accessdeniedexception accessdenied unrecognizedclientexception expiredtokenexception
        expiredtoken invalidclienttokenid invalidsignatureexception signaturedoesnotmatch invalidaccesskeyid
        missingauthenticationtoken missingauthenticationtokenexception notauthorizedexception oauth_org_not_allowed
        1000 1001 1002 1003 1004 1110 1111 1112""",
    "quota": """
        insufficient_quota exceeded_current_quota_error billing_hard_limit_reached billing_not_active billing_error
        billing_disabled usage_limit_reached usage_limit_exceeded usage_not_included credit_balance_too_low
        insufficient_balance insufficient_credits insufficient_funds payment_required quota_exceeded
        quota_exceeded_error servicequotaexceededexception workspace_owner_credits_depleted 1113 1304 1308""",
    "context_overflow": """
        context_length_exceeded context_window_exceeded context_limit_exceeded string_above_max_length
        request_too_large model_context_window_exceeded prompt_too_long input_too_long 1261""",
    "content_refused": """
        content_filter content_filter_error content_policy_violation content_policy_error invalid_prompt
        moderation_blocked moderation_error responsibleaipolicyviolation guardrail_intervened guardrailintervened
        prompt_blocked prohibited_content data_inspection_failed cyber_policy_violation safety_violation 1301""",
    "malformed_output": """
        json_validate_failed tool_use_failed malformed_function_call malformed_tool_call output_parse_failed
        structured_output_failed""",
    "overloaded": """
        overloaded_error overloaded engine_overloaded_error engine_overloaded server_overloaded server_is_overloaded
        model_overloaded capacity_exceeded capacity_exceeded_error over_capacity modelnotreadyexception
        modelerrorexception modelstreamerrorexception serviceunavailableexception serviceunavailable
        internalserverexception internalserverfailure service_tier_capacity_exceeded 1305""",
    "rate_limited": """
        rate_limit_exceeded rate_limit_error rate_limit rate_limited rate_limit_reached_error too_many_requests
        rate_limit_exceeded_error throttlingexception throttling throttledexception requestthrottled
        requestthrottledexception requestlimitexceeded provisionedthroughputexceededexception slowdown slow_down
        toomanyrequestsexception toomanyrequests bandwidthlimitexceeded limitexceededexception ec2throttledexception
        priorrequestnotcomplete 1302 1303""",
    "timeout": "modeltimeoutexception request_timeout requesttimeout requesttimeoutexception",
}
#: Words that many failures share, or that a library makes up: believed where nothing better speaks.
_GENERAL: Final[dict[str, str]] = {
    "auth": "unauthenticated permission_denied",
    "bad_input": """
        invalid_request_error invalid_argument validationexception validation_error model_not_found not_found_error
        not_found unsupported_parameter unsupported_value invalid_value failed_precondition out_of_range
        unimplemented resourcenotfoundexception unprocessable_entity bad_request invalid_parameter""",
    "overloaded": """
        api_error server_error internal_server_error internal_error internal unavailable service_unavailable""",
    "rate_limited": "resource_exhausted throttling_error",
    "timeout": "deadline_exceeded timeout_error",
}

#: Words that name what is wrong with the input, so that nothing else need be looked for.
OF_THE_INPUT: Final = frozenset({"unsupported_parameter", "unsupported_value", "invalid_value", "model_not_found"})

PROVING: Final[dict[str, str]] = {word: kind for kind, words in _PROVING.items() for word in words.split()}
GENERAL: Final[dict[str, str]] = {word: kind for kind, words in _GENERAL.items() for word in words.split()}

#: In running text only words that nobody writes by accident: with an underscore, or an AWS exception's name.
_WORDS: Final = re.compile(r"\b(?:[A-Za-z]+(?:_[A-Za-z]+)+|[A-Z][A-Za-z]+Exception|[A-Za-z]+PerDay[A-Za-z]*)\b")


def proven(code: str) -> str | None:
    """The class that this word alone proves; None for any other. A quota id of Google's says its window by its name."""
    word = code.strip().lower()
    return "quota" if "perday" in word else PROVING.get(word)


def general(code: str) -> str | None:
    """The class that this word suggests."""
    return GENERAL.get(code.strip().lower())


def in_text(text: str) -> Iterator[str]:
    """The proving words that stand in running text (a CLI's output, a library that kept nothing but the message)."""
    return (found[0] for found in _WORDS.finditer(text) if proven(found[0]))
