"""Words that mean the same in code and in questions about it: `expr` and "expression".

People ask in whole words, programmers write in short ones. A question is searched for with both;
what it did not say itself counts less (`retrieval.lexical.RELATED_WEIGHTS`). The table holds
conventions of programming at large; no name of any one repository belongs in it.
"""

import re
from collections import defaultdict

from retrieval.lexical import stem

# One line a group: each word stands for all others of its line.
_GROUPS = """
addr address
app application
arg argument
async asynchronous
attr attribute
auth authentication authenticate authorization
avg average mean
bool boolean
buf buffer
calc calculate compute
cert certificate
char character
ckpt checkpoint
cls class
cmd command
cnt count counter
col column
cond condition conditional
config conf cfg configuration configure
conn connection
const constant
coord coordinate
cred credential
ctx context
curr current
db database
dec decode decoder
decl declaration declarator
def definition define
del delete remove
dep dependency
desc description
dest destination
dev development
dict dictionary mapping
diff difference
dir directory folder
dist distance distribution
doc documentation document
dst destination
elem element
enc encode encoder encoding
env environment
eq equality equal
err error
eval evaluate evaluation
exc exception
exec execute execution
expr expression
ext extension
fmt format formatter
freq frequency
func fn function
gen generate generator
grad gradient
grp group
hdr header
hist history histogram
id ident identifier
idx index
iface interface
img image
impl implementation implement
info information
init initialize initialise initialization initialisation
inst instance
int integer
iter iterator iteration iterate
kw keyword
lang language
len length
lib library
lit literal
loc location
max maximum
mem memory
meta metadata
mgr manager
min minimum
mod module
msg message
neg negative
norm normalize normalise normalization
ns namespace
num number
obj object
op operator operation
opt option optional optimizer
orig original
param parameter
paren parenthesis parenthesized parentheses
pct percent percentage
perf performance
perm permission
pkg package
pos position
pref preference
prev previous
priv private
proc process
prop property
ptr pointer
pub public
rand random
rec record
ref reference
reg register
rel relative
repo repository
repr representation
req request
resp response
ret return
sched schedule scheduler
sel select selection selector
sep separator
seq sequence
sess session
sig signature
spec specification
src source
srv server
stat statistics
std standard
stmt statement
str string
subproc subprocess
svc service
sym symbol
sync synchronize synchronise
sys system
tbl table
temp tmp temporary
term terminal
tmpl template
tok token
trans translate transform
tx transaction
txt text
usr user
util utility helper
val value
var variable
vec vector
ver version
win window
"""

# What takes several words to say, or is written with signs.
_PHRASES = {
    "abstract syntax tree": "ast",
    "application programming interface": "api",
    "c#": "csharp",
    "c++": "cpp",
    "command line": "cli argv",
    "context manager": "__enter__ __exit__ contextmanager",
    "cross reference": "xref",
    "current directory": "cwd",
    "document tree": "doctree",
    "environment variable": "environ getenv",
    "equality": "__eq__",
    "file system": "fs",
    "garbage collection": "gc",
    "hash": "__hash__",
    "initialization method": "__init__",
    "initializer": "__init__",
    "constructor": "__init__",
    "iterator": "__iter__ __next__",
    "key value": "kv",
    "left hand side": "lhs",
    "method resolution order": "mro",
    "operating system": "os",
    "regular expression": "regex regexp",
    "remote procedure call": "rpc",
    "representation": "__repr__",
    "right hand side": "rhs",
    "standard library": "stdlib",
    "string representation": "__repr__ __str__",
    "thread local": "tls threadlocal",
    "time to live": "ttl",
    "type annotation": "typing",
    "type hint": "annotation typing",
    "user interface": "ui",
    "working directory": "cwd chdir",
}

_MAX_PHRASE_WORDS = 4
_WORD = re.compile(r"\w+(?:\+\+|#)?")


def related_words(question: str) -> list[str]:
    """List the words that mean the same as words or phrases of a question, in their order.

    :return: lower case, stemmed as the index is; each once, none that the question holds itself.
    """
    words = [stem(word) for word in _WORD.findall(question.lower())]
    found: list[str] = []
    for at in range(len(words)):
        found += _SYNONYMS.get(words[at], ())
        for length in range(1, _MAX_PHRASE_WORDS + 1):
            found += _MEANINGS.get(" ".join(words[at : at + length]), ())
    return [word for word in dict.fromkeys(found) if word not in words]


def _read_groups() -> dict[str, list[str]]:
    related: defaultdict[str, list[str]] = defaultdict(list)
    for line in _GROUPS.strip().splitlines():
        group = list(dict.fromkeys(stem(word) for word in line.split()))
        for word in group:
            related[word] += [other for other in group if other != word]
    return dict(related)


def _read_phrases() -> dict[str, list[str]]:
    return {
        " ".join(stem(word) for word in _WORD.findall(phrase)): [
            stem(name.strip("_")) for name in names.split()
        ]
        for phrase, names in _PHRASES.items()
    }


_SYNONYMS = _read_groups()
_MEANINGS = _read_phrases()
