"""English verbs as docstrings and headings use them: recognised and inflected.

Only what a template needs: "saves" to "save" and back, "saving" to "save", "save" to "saved".
"""

import re

# Verbs that begin docstrings; where a word is a noun as often ("test", "log"), an article must
# follow it before it is taken for a verb.
VERBS = frozenset(
    "accept access accumulate acquire activate add adjust align allocate allow amend "
    "analyze append apply assemble assert assign attach authenticate average balance begin "
    "bind broadcast build calculate cancel capture cast change check choose clean clear "
    "clip clone close coerce collate collect combine compare compile compose compress "
    "compute concatenate configure connect construct consume contain contribute convert "
    "copy count create customize deactivate decide decode decompress decorate decrement "
    "deduce define delete deploy derive deserialize destroy detach detect determine "
    "disable discard discover dispatch display distribute divide download draw drop emit "
    "enable encode encrypt enforce ensure enter enumerate erase escape establish estimate "
    "evaluate examine exclude execute expand explain expose extend extract fetch fill "
    "filter find finish fit flatten flush fold follow forget format freeze gather generate "
    "get give group guess handle hash hide hold highlight identify ignore implement "
    "include increment indent indicate infer initialize inject inline insert inspect "
    "install instantiate instruct integrate interpolate intersect invalidate invert invoke "
    "iterate join keep launch let link list listen load locate look lower maintain make "
    "manage map mark mask match measure merge migrate modify monitor move multiply mutate "
    "normalize notify obtain open optimize order overwrite override pack pad parse "
    "partition pass patch peek perform permute pick place plot populate post prepare "
    "prepend present preserve prevent print process produce profile propagate provide "
    "prune pull purge push put query queue raise read rebuild receive recompute "
    "reconstruct record recover redirect reduce refresh register reject release reload "
    "remove rename render reorder repeat replace report represent request require reset "
    "reshape resize resolve restore restrict resume retrieve return reverse revert rewrite "
    "rotate round run sample sanitize save scale scan schedule search select send separate "
    "serialize serve set setup shift show shuffle shut simplify skip slice sort specify "
    "split squeeze start stop store strip submit subtract sum suppress swap switch "
    "synchronize tell tokenize toggle trace track train transfer transform translate "
    "traverse trigger trim truncate try turn unescape unfold unlock unpack unregister "
    "unset unwrap update upgrade upload use validate verify visit visualize wait walk warn "
    "watch wrap write yield zip".split()
)
_NOUNS_TOO = frozenset(
    "access average balance broadcast build cast change clone copy count display draw "
    "estimate filter fit fold format group guess hash highlight index join launch link "
    "list log look map mark mask match measure move order pack pad partition pass patch "
    "place plot post present print process profile pull push query queue record release "
    "report request reset return reverse round run sample scale scan schedule search set "
    "shift slice sort split start store sum switch trace track train transfer trigger turn "
    "update upgrade upload use visit watch wrap".split()
)
_DETERMINERS = frozenset(
    "a an the it them all any each every its their this that these those one two both "
    "given multiple several new whether if when how what which where".split()
)
_NEITHER = frozenset(  # words that may stand before an article without being verbs
    "may must can could should will would shall lookup setup about above after all also "
    "although and any as at because before behind below between both but by contains does "
    "during either even every except for from given has have how if in inside is it its "
    "just like many more most neither next not note of off on once one only or out outside "
    "over per same see since so some such than that then there these this those though "
    "through to under unless until unlike upon used via was what when where whether which "
    "while who why with within without yes no what's half twice".split()
)
_BASE = {"caches": "cache", "does": "do", "goes": "go", "has": "have", "is": "be", "dies": "die"}
_THIRD = {"have": "has", "be": "is", "do": "does", "go": "goes"}
_DOUBLED = frozenset(
    "clip commit control drop flip flag fit format get log map pad plan plot pop put refer "
    "remap reset run scan set shut skip slot snap spin split step stop strip submit swap "
    "tag transfer trim unset unwrap unzip wrap zip begin cut let pin".split()
)
_PAST = {
    "begin": "begun", "bind": "bound", "broadcast": "broadcast", "build": "built",
    "cast": "cast", "choose": "chosen", "cut": "cut", "do": "done", "draw": "drawn",
    "find": "found", "forget": "forgotten", "freeze": "frozen", "get": "found", "give": "given",
    "go": "gone", "have": "had", "hide": "hidden", "hold": "held", "keep": "kept", "let": "let",
    "make": "made", "override": "overridden", "overwrite": "overwritten", "put": "put",
    "read": "read", "rebuild": "rebuilt", "reset": "reset", "rewrite": "rewritten", "run": "run",
    "send": "sent", "set": "set", "show": "shown", "shut": "shut", "split": "split",
    "take": "taken", "tell": "told", "throw": "thrown", "undo": "undone", "unset": "unset",
    "write": "written",
}  # fmt: skip


def find_verb(words: list[str]) -> tuple[str, bool] | None:
    """Tell what verb a sentence begins with, if with one.

    :param words: of the sentence.
    :return: the verb's base form, and whether it stood in the third person ("saves").
    """
    word = words[0].lower()
    follower = words[1].lower() if len(words) > 1 else ""
    if not re.fullmatch(r"[a-z]+(?:-[a-z]+)?", word) or word in _NEITHER:
        return None
    has_determiner = follower in _DETERMINERS
    if word in VERBS and (word not in _NOUNS_TOO or has_determiner):
        return word, False
    base = _base_form(word)
    if base and base in VERBS and (base not in _NOUNS_TOO or has_determiner):
        return base, True
    if follower not in ("a", "an", "the") or word.endswith(("ing", "ed", "ly", "ion")):
        return None
    return (base, True) if base else (word, False)


def _base_form(word: str) -> str:
    """Undo the third person, or return "" if the word does not look like one."""
    if word in _BASE:
        return _BASE[word]
    if not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return ""
    if word.endswith("ies"):
        return word[:-3] + "y"
    if re.search(r"(?:sh|ch|x|ss|zz|o)es$", word):
        return word[:-2]
    return word[:-1]


def third_person(verb: str) -> str:
    """Inflect "save" to "saves"."""
    if verb in _THIRD:
        return _THIRD[verb]
    if re.search(r"[^aeiou]y$", verb):
        return verb[:-1] + "ies"
    return verb + ("es" if re.search(r"(?:s|sh|ch|x|z|o)$", verb) else "s")


def past_participle(verb: str) -> str:
    """Inflect "save" to "saved", "write" to "written"."""
    if verb in _PAST:
        return _PAST[verb]
    if verb.endswith("e"):
        return verb + "d"
    if re.search(r"[^aeiou]y$", verb):
        return verb[:-1] + "ied"
    return verb + (verb[-1] if verb in _DOUBLED else "") + "ed"


def _gerund(verb: str) -> str:
    if verb in _DOUBLED:
        return verb + verb[-1] + "ing"
    return (verb[:-1] if verb.endswith("e") and not verb.endswith("ee") else verb) + "ing"


_GERUNDS = {_gerund(verb): verb for verb in VERBS | {"debug", "test"}}


def verb_of_gerund(word: str) -> str | None:
    """Turn "saving" into "save", if it is a verb that is known."""
    return _GERUNDS.get(word.lower())
