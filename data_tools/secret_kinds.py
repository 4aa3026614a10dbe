"""What secrets look like: passwords, keys and tokens of some fifty kinds.

Kinds come from detect-secrets where it knows them, and are added to in its own class of detector:
keys that are newer than it, whole private keys and web tokens of which it finds the first line or
part, and passwords told by the name they are given. A kind whose look alone tells little is also
asked whether it looks drawn at random. Only patterns are used: detect-secrets can ask a provider
whether a key works, and nothing here does.

Patterns are bounded, because text is hostile: 5,000 spaces between a name and its value, or
`sk-sk-sk-…`, cost detect-secrets' own patterns the square of their length or more.
"""

import base64
import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from detect_secrets.filters import heuristic
from detect_secrets.plugins.artifactory import ArtifactoryDetector
from detect_secrets.plugins.aws import AWSKeyDetector
from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
from detect_secrets.plugins.base import RegexBasedDetector
from detect_secrets.plugins.discord import DiscordBotTokenDetector
from detect_secrets.plugins.github_token import GitHubTokenDetector
from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
from detect_secrets.plugins.mailchimp import MailchimpDetector
from detect_secrets.plugins.pypi_token import PypiTokenDetector
from detect_secrets.plugins.sendgrid import SendGridDetector
from detect_secrets.plugins.slack import SlackDetector
from detect_secrets.plugins.square_oauth import SquareOAuthDetector
from detect_secrets.plugins.stripe import StripeDetector

MIN_DISTINCT = 6  # characters of a secret; `aaaaaaaa` and `********` are none
MAX_MEAN_PIECE_CHARS = 2.7  # of words, numbers and signs: random text has about 2, names 4 or more
MIN_PIECES = 4

Verdict = Callable[[str], bool]


@dataclass(frozen=True)
class Span:
    """Where a secret stands in a text, and of which kind it is."""

    start: int
    end: int
    kind: str

    def moved(self, by: int) -> "Span":
        """The same, of a text that has `by` characters before this one."""
        return Span(self.start + by, self.end + by, self.kind)


class Detector(RegexBasedDetector):
    """Patterns of one kind of secret, in the class of detector of detect-secrets.

    :ivar secret_type: the kind, as it is called where a secret stood.
    :ivar denylist: the patterns; where one has a group, that is the secret.
    """

    secret_type = ""
    denylist: tuple[re.Pattern[str], ...] = ()

    def __init__(
        self, kind: str, *patterns: str | re.Pattern[str], verdict: Verdict | None = None
    ) -> None:
        """Take patterns; `verdict` judges what they find, which by default is no placeholder."""
        self.secret_type = kind
        self.denylist = tuple(map(_compile, patterns))
        self._verdict = verdict or is_no_placeholder

    def analyze_string(self, string: str) -> Generator[str, None, None]:
        """Yield the secrets in a text."""
        yield from (string[span.start : span.end] for span in self.find(string))

    def find(self, text: str) -> Iterator[Span]:
        """Find where secrets of this kind stand in a text."""
        for pattern in self.denylist:
            for match in pattern.finditer(text):
                start, end = _extent(match)
                if self._verdict(text[start:end]):
                    yield Span(start, end, self.secret_type)


def _compile(pattern: str | re.Pattern[str]) -> re.Pattern[str]:
    """Compile a pattern; one of detect-secrets so that no run of spaces can hold it up."""
    if isinstance(pattern, str):
        return re.compile(pattern, re.ASCII)
    bounded = pattern.pattern.replace("(?: *)", " {0,4}").replace("| +|", "| {1,4}|")
    return re.compile(bounded, pattern.flags & ~re.UNICODE | re.ASCII)


def _extent(match: re.Match[str]) -> tuple[int, int]:
    """Tell which part of a match is the secret: its group, or all of it and what goes on from it.

    Some groups are but a prefix (`ghp`), and some keys have grown since their pattern was written.
    """
    start, end = match.span(match.lastindex or 0)  # the last group that took part
    if not match.lastindex or match.end() - end > end - start:
        start, end = match.start(), _REST.match(match.string, match.end()).end()  # type: ignore[union-attr]
    while start < end and match.string[start] in _AROUND:
        start += 1
    while start < end and match.string[end - 1] in _AROUND:
        end -= 1
    return start, end


_REST = re.compile(r"[\w-]{0,400}", re.ASCII)
_AROUND = " \t\n\r\v\f\"'=:"  # what some patterns take along


def is_no_placeholder(text: str) -> bool:
    """Tell a secret from what only stands for one: `AKIA…EXAMPLE`, `<token>`, `xxxxxxxx`."""
    return (
        len(set(text)) >= MIN_DISTINCT
        and not _PLACEHOLDER.search(text)
        and not heuristic.is_sequential_string(text)
        and not heuristic.is_templated_secret(text)
        and not heuristic.is_prefixed_with_dollar_sign(text)
    )


def is_random(text: str) -> bool:
    """Tell whether a text looks drawn at random: pieces of it are short and of several sorts."""
    pieces = _PIECE.findall(text)
    return (
        len(pieces) >= MIN_PIECES
        and len(text) / len(pieces) <= MAX_MEAN_PIECE_CHARS
        and not text.isalpha()
        and not heuristic.is_not_alphanumeric_string(text)
        and is_no_placeholder(text)
    )


def _is_password(text: str) -> bool:
    """Tell a password in an address from a plain word such as `password` or `guest`."""
    return (
        not text.isalpha()
        and text[0] not in "$%{<["
        and not _PLACEHOLDER.search(text)
        and not _PLAIN_WORD.search(text)
    )


def _is_key(text: str) -> bool:
    """Tell a private key from code and prose that name the lines around one."""
    return _KEY_BODY.search(text) is not None


def _is_web_token(text: str) -> bool:
    """Tell whether the first part of a JSON Web Token names an algorithm."""
    head = text.partition(".")[0].rstrip("=")
    try:
        decoded = base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))
    except ValueError:
        return False
    return b'"alg"' in decoded or b'"enc"' in decoded


_PLACEHOLDER = re.compile(
    r"example|placeholder|change.?me|your[_-]?|dummy|sample|redacted|insert|replace|foobar|"
    r"([\w*.#-])\1{4}|\.\.\.|1234567|0123456|abcdefg|qwerty|deadbeef|%[sd(]|[$#]?\{\w*\}|"
    r"\w\[\w*\]|\w\(|\[-?\w+\]|\(\?|[<\]][<|]|\\u[0-9a-f]{4}",  # expressions, not values
    re.IGNORECASE | re.ASCII,
)
_PLAIN_WORD = re.compile(r"pass|pwd|secret|token|user|test|hunter2|12345|abc|xyz", re.IGNORECASE)
_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+|[^\w\s./:-]", re.ASCII)
_KEY_BODY = re.compile(r"(?:[A-Za-z0-9+/=]{16,80}[\s\\\"'#*+,nr]{0,40}){4}", re.ASCII)
_KEY_LINE = r"(?:[A-Z0-9]{1,9} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
_KEY_LINES = r"(?:[\s\\\"'#*+,;>|/-]{0,40}[A-Za-z0-9+/=]{16,80}){2,400}"

# What is given by name: `DB_PASSWORD=…`, `"apiKey": "…"`, `client_secret: str = "…"`.
_KEYS = "|".join(  # said by looking behind, so that the screen has one short word to look for
    f"(?<={word}{sign})"
    for word in "api access auth account admin private client service shared storage encryption "
    "signing master session app cloud cloudant ibm iam softlayer".split()
    for sign in ("", "_", "-")
)
_NO_PAGE = "".join(  # tokens that tell where to read on, or one request from another
    rf"(?<!{word})(?<!{word}_)" for word in "page next ation change request action csrf".split()
)
_NAMES = (
    rf"(?i:passw(?:or)?d|pwd|secret|credential|{_NO_PAGE}token)",
    rf"(?i:(?:{_KEYS})key|passphrase)",
    r"(?i:(?<![a-z])(?:pass|auth)(?![a-z]))",
)
_OTHER = (  # what such names go on with if they name something else
    r"(?i:hash|digest|sha\d|md5|checksum|fingerprint|salt|id|name|ur[il]|endpoint|file|path|dir|"
    r"type|field|header|env|var|label|policy|regex|pattern|format|len|size|count|ttl|expir|prefix|"
    r"suffix|column|arn|ref|class|version|alg|index|input|page|limit|i[sz]er?|mode|method|scheme|"
    r"provider|flow|server|host|user|last|date|time|created|changed|updated|data|table|list|state)"
)
_ASSIGNED = (
    r"(?=[\w-]{0,24}+(?![\w-]))"  # most of what is no name is left here
    rf"(?![\w-]{{0,24}}?{_OTHER}s?(?![a-z]))[\w-]{{0,24}}[\"'\]]{{0,2}}"
    r"(?:(?:[ \t]{0,4}:|[ \t])[ \t]{0,4}[A-Za-z]\w{0,20}(?=[ \t]{0,4}=))?"  # its type
    r"[ \t]{0,8}(?:=>|:=|[!=]==?|[=:,(])[ \t]{0,8}"
)
_QUOTED = r"[@rbuf]?[\"'`]([^\s\"'`]{8,200})[\"'`]"
_BARE = r"[\"']?([^\s\"'`,;{}()\[\]<>$\\]{8,200})(?=[\"'`]?(?:[\s,#;\\)}\]]|\Z))"
_LISTED = rf"[\w-]{{0,24}}[\"']?[ \t]{{0,8}},?\s{{1,80}}[\"']?value[\"']?:[ \t]{{0,4}}{_BARE}"

# Each begins with letters of its own, or all but: one screen finds them all.
TOLD_BY_BEGINNING = (
    Detector("AWS key", AWSKeyDetector.denylist[0]),
    Detector("Anthropic key", r"sk-ant-[a-z0-9]{3,12}-[\w-]{20,200}"),
    Detector("Azure key", *AzureStorageKeyDetector.denylist),
    Detector("Databricks token", r"(?<!\w)dapi[0-9a-f]{32}"),
    Detector("DigitalOcean token", r"do[opr]_v1_[0-9a-f]{64}"),
    Detector("Docker token", r"dckr_[po]at_[\w-]{27,64}"),
    Detector("GitHub token", *GitHubTokenDetector.denylist),
    Detector("GitHub token", r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    Detector("GitLab token", *GitLabTokenDetector.denylist),
    Detector("Google key", r"AIza[\w-]{35}", r"GOCSPX-[\w-]{28}", r"ya29\.[\w-]{30,400}"),
    Detector("Grafana token", r"glsa_[A-Za-z0-9]{32}_[0-9a-f]{8}", r"glc_[A-Za-z0-9+/]{40,200}"),
    Detector("Groq key", r"(?<!\w)gsk_[A-Za-z0-9]{52}"),
    Detector("Hugging Face token", r"(?<!\w)hf_[A-Za-z0-9]{34}(?!\w)", r"api_org_[A-Za-z]{34}"),
    Detector("Linear key", r"lin_(?:api|oauth)_[A-Za-z0-9]{40}"),
    Detector("Mailgun key", r"(?<!\w)key-[0-9a-f]{32}(?!\w)"),
    Detector("New Relic key", r"NRAK-[A-Z0-9]{27}"),
    Detector("npm token", r"npm_[A-Za-z0-9]{36}", r":_authToken=\s{0,4}([\w-]{20,200})"),
    Detector("OpenAI key", r"(?<![\w-])sk-[\w-]{0,100}[A-Za-z0-9]{20}T3BlbkFJ[\w-]{20,200}"),
    Detector("OpenAI key", r"sk-(?:proj|svcacct|admin|or-v1)-[\w-]{40,200}"),
    Detector("Postman key", r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}"),
    Detector("PyPI token", *PypiTokenDetector.denylist),
    Detector("Replicate token", r"(?<!\w)r8_[A-Za-z0-9]{37}(?!\w)"),
    Detector("SendGrid key", *SendGridDetector.denylist),
    Detector("Shopify token", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    Detector("Slack token", SlackDetector.denylist[0]),
    Detector("Slack webhook", r"hooks\.slack\.com/services/T\w{1,20}/B\w{1,20}/\w{1,40}"),
    Detector("Slack token", r"xapp-\d-[A-Z0-9]{8,20}-\d{8,20}-[a-f0-9]{32}"),
    Detector("SoftLayer key", r"api\.softlayer\.com/soap/v3(?:\.1)?/([a-z0-9]{64})"),
    Detector("Square key", *SquareOAuthDetector.denylist, r"sq0atp-[\w-]{22}"),
    Detector("Stripe key", *StripeDetector.denylist, r"whsec_[A-Za-z0-9]{32}"),
    Detector("Supabase token", r"sbp_[0-9a-f]{40}"),
    Detector("Twilio key", r"(?<![A-Za-z0-9])(?:AC|SK)[0-9a-f]{32}(?![A-Za-z0-9])"),
    Detector("Vault token", r"(?<!\w)hv[sbr]\.[\w-]{24,300}"),
    Detector("age key", r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    Detector(
        "web token",
        r"(?:(?<![\w-])|(?<=:-)|(?<=\\n))eyJ[\w-]{10,4000}={0,2}\.[\w-]{8,4000}={0,2}(?:\.[\w.+/=-]{0,4000})?",
        verdict=_is_web_token,
    ),
)
# Each is found fastest by a screen of its own.
TOLD_BY_SHAPE = (
    Detector("Artifactory key", r"(?<![A-Za-z0-9+/])AKC[A-Za-z0-9]{60,80}(?![A-Za-z0-9+/=])"),
    Detector("Artifactory key", ArtifactoryDetector.denylist[1], verdict=is_random),
    Detector("Azure key", r"(?<![\w~.-])[\w~.]{3}\dQ~[\w~.-]{31,34}(?![\w~.-])"),
    Detector("AWS key", AWSKeyDetector.denylist[1]),
    Detector("Azure key", r"(?i:[?&;]sig=)([A-Za-z0-9%+/]{40,90})"),
    Detector("Discord token", *DiscordBotTokenDetector.denylist),
    Detector("Discord webhook", r"(?i:discord(?:app)?\.com/api/webhooks/\d{15,21}/)([\w-]{60,90})"),
    Detector("Mailchimp key", *MailchimpDetector.denylist),
    Detector("Telegram token", r"(?<![A-Za-z0-9])\d{8,10}:A[\w-]{34}(?![\w-])"),
    Detector("Terraform token", r"[A-Za-z0-9]{14}\.atlasv1\.[\w-]{60,80}"),
    Detector(
        "password",
        r"[A-Za-z][A-Za-z0-9+.-]{1,15}://[^\s/?#\"'`<>:@]{0,80}:([^\s/?#\"'`<>@]{3,200})@[\w\[]",
        verdict=_is_password,
    ),
    Detector(
        "credentials",
        r"(?i:authorization[\"']?[ \t]{0,4}[:=,][ \t]{0,4}[\"'`]?(?:basic|bearer|token)[ \t]{1,4})"
        r"([A-Za-z0-9+/=._~-]{16,400})",
        verdict=is_random,
    ),
)
TOLD_BY_LINES = (
    Detector(
        "private key",
        rf"-----BEGIN {_KEY_LINE}(?:[^-]|-(?!----)){{0,16000}}-----END {_KEY_LINE}",
        rf"-----BEGIN {_KEY_LINE}{_KEY_LINES}",  # cut off
        rf"Private-Lines: \d{{1,3}}({_KEY_LINES})",  # PuTTY's
        verdict=_is_key,
    ),
)
# In code, values stand in quotes; elsewhere they need not, and may stand in the next line.
TOLD_BY_NAME = tuple(
    Detector("password or key", f"{name}{_ASSIGNED}{_QUOTED}", verdict=is_random) for name in _NAMES
)
TOLD_BY_NAME_BARE = tuple(
    Detector("password or key", f"{name}{_ASSIGNED}(?:{_QUOTED}|{_BARE})", verdict=is_random)
    for name in _NAMES
)
TOLD_BY_LINE_BEFORE = (
    Detector("password or key", rf"(?i:passw|pwd|secret|token|key){_LISTED}", verdict=is_random),
)
