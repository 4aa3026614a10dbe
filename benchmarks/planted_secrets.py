"""Keys that were never anyone's, in surroundings such as they are found in; and what is none.

Keys are drawn by a seeded generator in the forms that their providers document, and put together
from parts, so that no scanner finds one in this file. What looks like a key and is none stands
beside them: hashes, identifiers, placeholders, public keys, words.
"""

import base64
import json
import random
import string
import uuid
from collections.abc import Callable
from dataclasses import dataclass

LETTERS, DIGITS, UPPER = string.ascii_letters, string.digits, string.ascii_uppercase
ALPHANUMERIC = LETTERS + DIGITS
URL_SAFE, BASE64, HEX = ALPHANUMERIC + "-_", ALPHANUMERIC + "+/", DIGITS + "abcdef"
BASE32 = UPPER + "234567"

Draw = Callable[[random.Random], str]


@dataclass(frozen=True)
class Planted:
    """A file that holds one secret, or something like one.

    :param kind: of the secret; of a decoy, what it is.
    :param secret: the characters that must not be left.
    """

    kind: str
    secret: str
    path: str
    text: str


def _some(alphabet: str, count: int) -> Draw:
    return lambda draw: "".join(draw.choices(alphabet, k=count))


def _form(*parts: str | Draw) -> Draw:
    return lambda draw: "".join(part if isinstance(part, str) else part(draw) for part in parts)


def _mixed(alphabet: str, count: int) -> Draw:
    """Draw text with a letter and a digit in it, as generated passwords have."""

    def make(draw: random.Random) -> str:
        while True:
            text = "".join(draw.choices(alphabet, k=count))
            if text[0] in ALPHANUMERIC and not text.isalpha() and not text.isdigit():
                return text

    return make


def _web_token(draw: random.Random) -> str:
    head = {"alg": "HS256", "typ": "JWT"}
    body = {"sub": str(draw.randrange(10**9)), "iat": 1_700_000_000 + draw.randrange(10**7)}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()) for part in (head, body)]
    signature = base64.urlsafe_b64encode(draw.randbytes(32))
    return b".".join(part.rstrip(b"=") for part in (*parts, signature)).decode()


def _private_key(name: str, lines: int) -> Draw:
    def make(draw: random.Random) -> str:
        body = "\n".join(_some(BASE64, 64)(draw) for _ in range(lines))
        return f"-----BEGIN {name}-----\n{body}\n{_some(BASE64, 43)(draw)}=\n-----END {name}-----"

    return make


def _words(draw: random.Random) -> str:
    return "-".join(draw.choices("autumn candle river stone velvet copper window".split(), k=3))


# Kind → (how it is drawn, the name it is given in a configuration).
KINDS: dict[str, tuple[Draw, str]] = {
    "AWS access key": (_form("AK", "IA", _some(BASE32, 16)), "aws_access_key_id"),
    "AWS secret key": (_some(BASE64, 40), "aws_secret_access_key"),
    "GitHub token": (_form("gh", "p_", _some(ALPHANUMERIC, 36)), "github_token"),
    "GitHub app token": (_form("gh", "s_", _some(ALPHANUMERIC, 36)), "gh_token"),
    "GitHub fine-grained token": (
        _form("github", "_pat_", _some(ALPHANUMERIC, 22), "_", _some(ALPHANUMERIC, 59)),
        "github_token",
    ),
    "GitLab token": (_form("gl", "pat-", _some(URL_SAFE, 20)), "gitlab_token"),
    "Slack token": (
        _form("xo", "xb-", _some(DIGITS, 12), "-", _some(DIGITS, 13), "-", _some(ALPHANUMERIC, 24)),
        "slack_bot_token",
    ),
    "Stripe key": (_form("sk", "_live_", _some(ALPHANUMERIC, 24)), "stripe_secret_key"),
    "long Stripe key": (_form("sk", "_live_", _some(ALPHANUMERIC, 99)), "stripe_secret_key"),
    "Stripe webhook secret": (_form("wh", "sec_", _some(ALPHANUMERIC, 32)), "webhook_secret"),
    "JSON web token": (_web_token, "service_token"),
    "Azure storage key": (_form("Account", "Key=", _some(BASE64, 86), "=="), "connection"),
    "Azure client secret": (
        _form(_some(ALPHANUMERIC, 3), "8", "Q~", _some(ALPHANUMERIC + "-_.~", 34)),
        "azure_client_secret",
    ),
    "Twilio key": (_form("S", "K", _some(HEX, 32)), "twilio_api_key"),
    "SendGrid key": (
        _form("S", "G.", _some(URL_SAFE, 22), ".", _some(URL_SAFE, 43)),
        "sendgrid_api_key",
    ),
    "npm token": (_form("np", "m_", _some(ALPHANUMERIC, 36)), "npm_token"),
    "PyPI token": (_form("py", "pi-AgEIcHlwaS5vcmc", _some(URL_SAFE, 140)), "twine_password"),
    "OpenAI key": (
        _form("s", "k-", _some(ALPHANUMERIC, 20), "T3Blb", "kFJ", _some(ALPHANUMERIC, 20)),
        "openai_api_key",
    ),
    "OpenAI project key": (
        _form("s", "k-proj-", _some(URL_SAFE, 74), "T3Blb", "kFJ", _some(URL_SAFE, 74)),
        "openai_api_key",
    ),
    "Anthropic key": (_form("s", "k-ant-api03-", _some(URL_SAFE, 93), "AA"), "anthropic_api_key"),
    "Hugging Face token": (_form("h", "f_", _some(LETTERS, 34)), "hf_token"),
    "Google API key": (_form("AI", "za", _some(URL_SAFE, 35)), "google_api_key"),
    "Google client secret": (_form("GOC", "SPX-", _some(URL_SAFE, 28)), "client_secret"),
    "Discord token": (
        _form("M", _some(ALPHANUMERIC, 23), ".", _some(URL_SAFE, 6), ".", _some(URL_SAFE, 38)),
        "discord_token",
    ),
    "Telegram token": (_form(_some("123456789", 10), ":A", _some(URL_SAFE, 34)), "bot_token"),
    "Mailchimp key": (_form(_some(HEX, 32), "-us", "14"), "mailchimp_api_key"),
    "Square secret": (_form("sq0", "csp-", _some(URL_SAFE, 43)), "square_secret"),
    "Artifactory key": (_form("AK", "Cp", _some(ALPHANUMERIC, 69)), "artifactory_key"),
    "Databricks token": (_form("da", "pi", _some(HEX, 32)), "databricks_token"),
    "DigitalOcean token": (_form("do", "p_v1_", _some(HEX, 64)), "digitalocean_token"),
    "Shopify token": (_form("sh", "pat_", _some(HEX, 32)), "shopify_access_token"),
    "Vault token": (_form("hv", "s.", _some(ALPHANUMERIC, 24)), "vault_token"),
    "IBM Cloud key": (_some(URL_SAFE, 44), "ibm_cloud_api_key"),
    "hexadecimal key": (_some(HEX, 32), "dd_api_key"),
    "longer hexadecimal key": (_some(HEX, 40), "wandb_api_key"),
    "UUID as a key": (lambda draw: str(uuid.UUID(int=draw.getrandbits(128))), "heroku_api_key"),
    "generated password": (_mixed(ALPHANUMERIC + "!@#%^&*_-+", 16), "db_password"),
    "short generated password": (_mixed(ALPHANUMERIC, 12), "smtp_password"),
    "password of words": (_words, "admin_password"),
    "private key": (_private_key("RSA " + "PRIVATE KEY", 24), ""),
    "OpenSSH private key": (_private_key("OPENSSH " + "PRIVATE KEY", 6), ""),
    "PGP private key": (_private_key("PGP " + "PRIVATE KEY BLOCK", 12), ""),
    "password in an address": (_mixed(ALPHANUMERIC + "_-.", 14), "://"),
    "Slack webhook": (
        _form(
            *("https://hooks.slack", ".com/services/T", _some(UPPER + DIGITS, 8), "/B"),
            *(_some(UPPER + DIGITS, 8), "/", _some(ALPHANUMERIC, 24)),
        ),
        "slack_webhook",
    ),
}
# How a value stands in files of each sort; `{NAME}` is its name in capitals.
SURROUNDINGS = {
    "settings.py": 'import os\n\nDEBUG = False\n{NAME} = "{value}"\n\nprint(os.sep)\n',
    "client.py": "client = connect(host, {name}='{value}', retries=3)\n",
    "config.py": 'SERVICE: dict[str, str] = {{\n    "host": "db",\n    "{name}": "{value}",\n}}\n',
    "app.js": 'const {camel} = "{value}";\n\nexport default start({{ port: 80, {camel} }});\n',
    "api.ts": "export const config = {{\n  {camel}: '{value}',\n  timeout: 30,\n}};\n",
    "main.go": 'package main\n\nconst {camel} string = "{value}"\n',
    "values.yaml": "service:\n  port: 8080\n  {name}: {value}\n  replicas: 2\n",
    "deployment.yaml": "env:\n  - name: {NAME}\n    value: {value}\n  - name: PORT\n    value: 8\n",
    "production.env": "PORT=8080\n{NAME}={value}\nDEBUG=0\n",
    "settings.json": '{{\n  "port": 8080,\n  "{name}": "{value}",\n  "debug": false\n}}\n',
    "main.tf": 'provider "service" {{\n  region = "eu-1"\n  {name} = "{value}"\n}}\n',
    "README.md": "# Start\n\n```sh\nexport {NAME}={value}\nmake run\n```\n",
    "guide.md": "Set `{name}: {value}` in the file, then restart it.\n",
    "deploy.sh": '#!/bin/sh\nset -e\nexport {NAME}="{value}"\n./run --once\n',
    "explore.ipynb": '# Notes\n\n```python\n{name} = "{value}"\nframe = load({name})\n```\n',
    "docs/page.md": "## Log in\n\n    {NAME}={value} tool login\n\nThen go on.\n",
    "app.ini": "[service]\n{name} = {value}\nport = 80\n",
}
_WHOLE = {  # of a private key, which takes lines of its own
    "key.py": 'KEY = """{value}"""\n\n\ndef sign(text):\n    return text\n',
    "account.json": '{{\n  "type": "service",\n  "private_key": "{escaped}\\n",\n  "id": 7\n}}\n',
    "secret.yaml": "tls:\n  key: |\n    {indented}\nport: 80\n",
    "setup.md": "Put this there:\n\n{value}\n\nand restart.\n",
    "install.sh": "cat > key <<EOF\n{value}\nEOF\nchmod 600 key\n",
}
_ADDRESSES = {
    "db.py": 'engine = create_engine("postgresql://app:{value}@db.internal:5432/main")\n',
    "compose.yaml": "environment:\n  DATABASE_URL: mysql://app:{value}@db/main\n",
    "fetch.sh": "git clone https://robot:{value}@git.corp.net/team/code.git\n",
    "notes.md": "It listens at `amqp://worker:{value}@queue:5672/jobs`.\n",
    "proxy.json": '{{"proxy": "http://user:{value}@proxy.corp.net:3128"}}\n',
}


def plant_secrets(seed: int, *, each: int) -> list[Planted]:
    """Draw secrets of every kind, each in surroundings of its own.

    :param each: how many of a kind.
    """
    draw = random.Random(seed)
    planted = []
    for kind, (make, name) in KINDS.items():
        around = {"": _WHOLE, "://": _ADDRESSES}.get(name, SURROUNDINGS)
        places = draw.sample(sorted(around), k=min(each, len(around)))
        for number, place in enumerate(places):
            secret = make(draw)
            text = around[place].format(
                value=secret,
                escaped=secret.replace("\n", "\\n"),
                indented=secret.replace("\n", "\n    "),
                name=name,
                NAME=name.upper(),
                camel=_camel(name),
            )
            slug = kind.lower().replace(" ", "-")
            planted.append(Planted(kind, secret, f"{slug}-{number}/{place}", text))
    return planted


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def plant_decoys(seed: int) -> list[Planted]:
    """Draw what looks like secrets and is none."""
    draw = random.Random(seed)
    sha1, sha256, md5 = _some(HEX, 40), _some(HEX, 64), _some(HEX, 32)
    image = base64.b64encode(draw.randbytes(600)).decode()
    public = "\n".join(_some(BASE64, 64)(draw) for _ in range(6))
    identifier = uuid.UUID(int=draw.getrandbits(128))
    lines: dict[str, tuple[str, str]] = {
        "git commit": ("pin.yaml", f"rev: {sha1(draw)}\n"),
        "commit in code": ("pin.py", f'COMMIT = "{sha1(draw)}"\n'),
        "checksum": ("fetch.py", f'SHA256 = "{sha256(draw)}"\n'),
        "checksum of a token file": ("fetch.py", f'token_sha256 = "{sha256(draw)}"\n'),
        "image digest": ("pod.yaml", f"image: app@sha256:{sha256(draw)}\n"),
        "lock file": ("deps.txt", f"attrs==26.1.0 --hash=sha256:{sha256(draw)}\n"),
        "integrity": ("page.html", f'<script integrity="sha384-{_some(BASE64, 64)(draw)}">\n'),
        "password hash name": ("test.py", f'password_hash = "{md5(draw)}"\n'),
        "UUID": ("model.py", f'ACCOUNT_ID = "{identifier}"\n'),
        "UUID of a secret": ("vault.yaml", f"secret_id: {identifier}\n"),
        "image": ("logo.md", f"![logo](data:image/png;base64,{image})\n"),
        "image in code": ("icon.js", f'const icon = "data:image/gif;base64,{image}";\n'),
        "test vector": ("vectors.py", f'VECTORS = [("{md5(draw)}", "{sha256(draw)}")]\n'),
        "public key": (
            "tls.py",
            f"CERT = '''-----BEGIN PUBLIC KEY-----\n{public}\n-----END PUBLIC KEY-----'''\n",
        ),
        "certificate": (
            "ca.md",
            f"-----BEGIN CERTIFICATE-----\n{public}\n-----END CERTIFICATE-----\n",
        ),
        "public ssh key": (
            "hosts.md",
            f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{_some(BASE64, 43)(draw)} me\n",
        ),
        "lines of a key, without": (
            "pem.py",
            'if text.startswith("-----BEGIN ' + 'PRIVATE KEY-----"):\n    pass\n',
        ),
        "elided key": (
            "pem.md",
            "-----BEGIN " + "PRIVATE KEY-----\n...\n-----END " + "PRIVATE KEY-----\n",
        ),
        "minified": (
            "app.js",
            "var a=function(b,c){return b.token=c.key||d,e(b)},f={secret:g,password:h};\n",
        ),
    }
    for number, (path, text) in enumerate(_PLACEHOLDERS):
        lines[f"placeholder {number}"] = (path, text)
    return [
        Planted(kind, "", f"decoy-{number}/{path}", text)
        for number, (kind, (path, text)) in enumerate(lines.items())
    ]


_PLACEHOLDERS = (
    ("a.py", 'api_key = "your-api-key-here"\n'),
    ("a.py", 'API_KEY = "YOUR_API_KEY_1"\n'),
    ("a.py", 'token = os.environ["GITHUB_TOKEN_2"]\n'),
    ("a.py", 'password = getpass("Password for the 2nd server: ")\n'),
    ("a.py", 'parser.add_argument("--password", help="of the user")\n'),
    ("a.py", 'secret = config["secrets"]["v2"]\n'),
    ("a.py", 'password = "password"\n'),
    ("a.py", 'password = "hunter"\n'),
    ("a.py", 'eos_token = "<|endoftext|>"\n'),
    ("a.py", 'pad_token, mask_token = "[PAD]", "[MASK1]"\n'),
    ("a.py", "access_token = response.json()['access_token']\n"),
    ("a.py", 'api_key_header = "X-Api-Key-V2"\n'),
    ("a.py", 'secret_name = "projects/p1/secrets/s2/versions/3"\n'),
    ("a.py", 'token_url = "https://login.corp.net/oauth2/v2.0/token"\n'),
    ("a.py", 'password_field = "user_password_2"\n'),
    ("a.py", 'tokens = tokenize("some text, 2 words")\n'),
    ("a.py", 'key = "model.layers.0.self_attn.q_proj.weight"\n'),
    ("a.py", 'AWS = "AKIAIOSFODNN7' + 'EXAMPLE"\n'),
    ("a.py", 'aws_secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"\n'),
    ("a.py", 'openai.api_key = "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"\n'),
    ("a.py", 'url = f"https://{user}:{password}@{host}/path"\n'),
    ("a.py", 'assert redact("ghp_' + 'x" * 36) == ""\n'),
    ("a.js", "const token = process.env.API_TOKEN2;\n"),
    ("a.js", 'const password = document.getElementById("password2").value;\n'),
    ("a.ts", "export interface Login { password: string; token?: string }\n"),
    ("a.go", 'password := os.Getenv("DB_PASSWORD_1")\n'),
    ("a.java", 'private static final String PASSWORD_KEY = "db.password.v1";\n'),
    ("a.yaml", "password: ${DB_PASSWORD}\n"),
    ("a.yaml", "password: {{ .Values.db.password1 }}\n"),
    ("a.yaml", "token: !vault secret/data/app1#token\n"),
    ("a.yaml", "secretName: app-tls-v2-prod-eu1\n"),
    ("a.yaml", "secretKeyRef:\n  name: db-auth-2\n  key: password\n"),
    ("a.yaml", "token: <your-token>\n"),
    ("a.yaml", "password: changeme123\n"),
    ("a.yaml", "github_token: ${{ secrets.GITHUB_TOKEN }}\n"),
    ("a.json", '{"password": "string", "minLength": 8}\n'),
    ("a.json", '{"tokenizer": "meta-llama/Llama-3.2-1B", "pad_token_id": 128001}\n'),
    ("a.tf", "password = var.db_password_1\n"),
    ("a.tf", "secret_id = aws_secretsmanager_secret.db1.id\n"),
    ("a.sh", 'export TOKEN="$(cat /run/secrets/token1)"\n'),
    ("a.sh", "export PASSWORD=$1\n"),
    ("a.sh", 'curl -H "Authorization: Bearer $TOKEN" https://api.corp.net/v2/jobs\n'),
    ("a.sh", "docker run -e POSTGRES_PASSWORD=postgres postgres:16\n"),
    ("a.md", "Use `https://user:password@host/` to log in.\n"),
    ("a.md", "Pass `--token TOKEN`, or set `API_KEY=<key>`.\n"),
    ("a.md", "redis://localhost:6379/0 and postgres://postgres:postgres@localhost/db\n"),
    ("a.md", "The secret: write tests first, in 2 or 3 lines.\n"),
    ("a.md", "Authorization: Bearer <token>\n"),
    ("a.ini", "password = \ntoken = none\n"),
    ("a.sql", "SELECT token, password FROM users WHERE id = 1;\n"),
)
