"""Rules of the house that a machine can check. Pure functions: texts in, a sentence per fault out.

Every rule is itself tested with a seeded violation in ``test_rules.py``; ``test_architecture.py`` applies
them to this tree.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import PurePosixPath

Files = Mapping[str, str]
"""Path from the root of the repository → text."""

FILE_LINES = 800
FUNCTION_LINES = 40

NOT_ROOMS = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "handler", "base", "misc"})
"""Names that say nothing about the question a room answers."""

MACHINE_TRACES = (
    re.compile(r"(?<![\w.-])/(?:work|tmp|root|home)/\w"),
    re.compile(r"\bshared/design\b"),
    re.compile(r"\b(?:pypi\.org|pythonhosted\.org|registry\.npmjs|deb\.debian\.org|/opt/wheels)\b"),
    re.compile(r"--(?:extra-)?index-url\s+\S*://|--find-links"),
)
"""Whatever is true on one machine only: its folders, its package registries."""

UNPLAIN_WORDS = re.compile(
    r"\b(?:whoever|anew|any more|note that|tells|told|hears|heard|bears? with|lets? it be|speaks? for"
    r"|farewells?|convoys?|heralds?|turnstiles?|witness(?:es)?|errands?|rosters?|confidants?)\b",
    re.IGNORECASE,
)
"""Words of an English that has to be read twice: machines send, receive, return and record."""
UNPLAIN_IN_TEXTS = re.compile(
    UNPLAIN_WORDS.pattern + r"|(?<!there )\bis no (?!such\b|longer\b)|\b(?:bear|speak)s?\b|travels? readable",
    re.IGNORECASE,
)
"""What texts for people do without, too: errors, the help of commands, the pages of the web client."""
_NO_PROSE = re.compile(r"`[^`]*`|\*[^*\n]*\*|\]\([^)]*\)|^\s*\w+: |<[^>]*>")
"""Names and addresses between the words: code, parameters, the targets of links, the name of an argument."""

_SCRIPT_TOKEN = re.compile(
    r"/\*.*?\*/|(?<![:\\])//[^\n]*|(?P<text>'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"|`(?:\\.|[^`\\])*`)",
    re.DOTALL,
)
"""Comments and strings of a script: a quote within a comment begins no string."""

_DOC_ROW = re.compile(r"^\|\s*`?(?P<code>[a-z0-9_]+)`?\s*\|(?P<rest>.*)\|\s*$", re.MULTILINE)
_SUPPRESSION = re.compile(r"#\s*(?:noqa|type:\s*ignore)(?P<codes>[:\[][\w, -]*?\]?)?(?=\s|$)(?P<rest>.*)")
_CLASS = re.compile(r"^ *class (?P<name>\w+)", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)#\s]+)(?:#[^)]*)?\)")


def long_files(files: Files) -> Iterator[str]:
    """Report each file of more than 800 lines."""
    for path, text in files.items():
        lines = text.count("\n")
        if lines > FILE_LINES:
            yield f"{path}: {lines} lines, at most {FILE_LINES}: split it"


def long_functions(files: Files) -> Iterator[str]:
    """Report each function of more than 40 lines, its docstring not counted."""
    for path, node in _nodes({path: text for path, text in files.items() if _may_be_long(text)}):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1 - _docstring_lines(node)
            if lines > FUNCTION_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {lines} lines, at most {FUNCTION_LINES}"


def _may_be_long(text: str) -> bool:
    """Return whether lines further in follow a ``def`` for so long: parsing all files takes seconds."""
    begun: list[tuple[int, int]] = []
    lines, is_text = text.splitlines(), False
    for number, line in enumerate(lines):
        code = line.lstrip()
        column = len(line) - len(code)
        if code and not is_text:
            while begun and column <= begun[-1][0] and code[0] not in ")]}":
                if number - begun.pop()[1] > FUNCTION_LINES:
                    return True
            if code.startswith(("def ", "async def ")):
                begun.append((column, number))
        is_text ^= line.count('"""') % 2 == 1
    return any(len(lines) - first > FUNCTION_LINES for _, first in begun)


def sleeping_tests(files: Files) -> Iterator[str]:
    """Report tests that wait for real time to pass; zero seconds only let others have their turn."""
    for path, node in _nodes({path: text for path, text in files.items() if ".sleep(" in text}):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="asyncio" | "time"), attr="sleep"), args=[how_long]
            ):
                if not (isinstance(how_long, ast.Constant) and how_long.value == 0):
                    yield f"{path}:{node.lineno}: sleeps; move the manual clock"


def empty_room_names(files: Files) -> Iterator[str]:
    """Report modules, packages and classes named after nothing in particular."""
    for path in files:
        for part in PurePosixPath(path).with_suffix("").parts:
            for word in NOT_ROOMS.intersection(part.lower().split("_")):
                yield f"{path}: {word!r} is no name for a room"
    for path, text in files.items():
        for found in _CLASS.finditer(text):
            last = re.findall(r"[A-Z][a-z0-9]*|[a-z0-9]+", found["name"])[-1].lower()
            if last in NOT_ROOMS:
                line = text.count("\n", 0, found.start("name")) + 1
                yield f"{path}:{line}: {found['name']} does not say what it is"


def machine_traces(files: Files) -> Iterator[str]:
    """Report folders and package registries of the machine that somebody worked on."""
    for path, text in files.items():
        patterns = [pattern for pattern in MACHINE_TRACES if pattern.search(text)]
        for number, line in enumerate(text.splitlines() if patterns else (), 1):
            for pattern in patterns:
                if found := pattern.search(line):
                    yield f"{path}:{number}: {found.group()!r} is true on one machine only"


def unreasoned_suppressions(files: Files) -> Iterator[str]:
    """Report each suppressed lint or type error that names no code, or no reason on its line or above it."""
    for path, text in files.items():
        above = ""
        for number, line in enumerate(text.splitlines(), 1):
            if found := _SUPPRESSION.search(line):
                reason = found["rest"].strip(" #-–—:")
                if not found["codes"]:
                    yield f"{path}:{number}: suppresses everything; name the code"
                elif len(reason) < 8 and not above.lstrip().startswith("#"):
                    yield f"{path}:{number}: suppresses {found['codes']} without saying why"
            above = line


def forbidden_constructs(files: Files) -> Iterator[str]:
    """Report stubs, tasks without an owner, dispatch on names that are data, and untyped shapes."""
    for path, node in _nodes(files):
        if fault := _construct_fault(path, node):
            yield f"{path}:{fault}"


def code_faults(documented: str, status_of: Mapping[str, int], retry_of: Mapping[str, bool]) -> Iterator[str]:
    """Report differences between the error codes and their table: code, HTTP status, retry, meaning."""
    rows = {row["code"]: [cell.strip() for cell in row["rest"].split("|")] for row in _rows(documented)}
    rows = {code: cells for code, cells in rows.items() if cells[0].isdecimal() and cells[1] in {"yes", "no"}}
    for code in sorted(status_of.keys() - rows.keys()):
        yield f"error code {code} is not documented"
    for code in sorted(rows.keys() - status_of.keys()):
        yield f"error code {code} is documented but does not exist"
    for code in sorted(rows.keys() & status_of.keys()):
        if int(rows[code][0]) != status_of[code]:
            yield f"error code {code} is {status_of[code]}, documented as {rows[code][0]}"
        if (rows[code][1] == "yes") != retry_of[code]:
            yield f"error code {code}: retry is {retry_of[code]}, documented as {rows[code][1]!r}"


def undocumented_fields(documented: str, fields_of: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Report fields of the protocol's types that the reference never names."""
    words = set(re.findall(r"\w+", documented))
    for name, fields in fields_of.items():
        for field in fields:
            if field not in words:
                yield f"{name}.{field} is not documented"


def close_faults(documented: str, verdict_of: Mapping[str, tuple[int, str]]) -> Iterator[str]:
    """Report differences between the close codes and their table: number, name, verdict, meaning."""
    rows: dict[str, tuple[int, str]] = {}
    for row in _rows(documented):
        cells = [cell.strip().strip("`") for cell in row["rest"].split("|")]
        if row["code"].isdecimal() and len(cells) == 3:
            rows[cells[0]] = (int(row["code"]), cells[1])
    for name in sorted(verdict_of.keys() - rows.keys()):
        yield f"close code {name} is not documented"
    for name in sorted(rows.keys() - verdict_of.keys()):
        yield f"close code {name} is documented but does not exist"
    for name in sorted(rows.keys() & verdict_of.keys()):
        if rows[name] != verdict_of[name]:
            yield f"close code {name} is {verdict_of[name]}, documented as {rows[name]}"


def decision_faults(records: Files) -> Iterator[str]:
    """Report decision records that lack a part or a number in the row (Nygard's form)."""
    for expected, (path, text) in enumerate(sorted(records.items()), 1):
        name = PurePosixPath(path).name
        if not name.startswith(f"{expected:04d}-"):
            yield f"{path}: the next number is {expected:04d}"
        if not re.match(rf"# {expected}\. \S", text):
            yield f"{path}: the first line is not '# {expected}. Title'"
        for part in ("Status", "Context", "Decision", "Consequences"):
            body = re.search(rf"^## {part}\n+(?P<body>.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
            if body is None or not body["body"].strip():
                yield f"{path}: has no {part}"


def dead_links(documents: Files, paths: Iterable[str]) -> Iterator[str]:
    """Report relative links of Markdown files that lead nowhere."""
    known = set(paths) | {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    for path, text in documents.items():
        for link in _LINK.finditer(text):
            target = link["target"]
            if "://" not in target and not target.startswith("mailto:"):
                resolved = _resolve(PurePosixPath(path).parent, target)
                if resolved not in known:
                    yield f"{path}: {target} leads nowhere"


def unplain_words(files: Files) -> Iterator[str]:
    """Report words for machinery that a stranger has to read twice, in docstrings, comments and pages."""
    for path, text in files.items():
        for number, line in _sentences(path, text) if UNPLAIN_WORDS.search(text) else ():
            if found := UNPLAIN_WORDS.search(_NO_PROSE.sub(" ", line)):
                yield f"{path}:{number}: {found.group()!r}: say what is sent, received, returned or recorded"


def unplain_texts(files: Files) -> Iterator[str]:
    """Report the same words, and some more, in texts that a program shows to people: strings of words."""
    for path, text in files.items():
        if not UNPLAIN_IN_TEXTS.search(text):
            continue
        for number, shown in _texts(text) if path.endswith(".py") else _script_texts(text):
            if re.search(r"\w \w", shown) and (found := UNPLAIN_IN_TEXTS.search(_NO_PROSE.sub(" ", shown))):
                yield f"{path}:{number}: {found.group()!r} in {shown!r}: say what happened and what to do"


def _texts(text: str) -> Iterator[tuple[int, str]]:
    """Return the strings of a module that are no docstrings, those within f-strings too."""
    nodes = _parsed(text)
    documentation = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        match node:
            case ast.Constant(value=str(shown)) if id(node) not in documentation:
                yield node.lineno, shown


def _script_comments(text: str) -> Iterator[tuple[int, str]]:
    """Return the lines of a script's comments, without the types and names of parameters."""
    for found in _SCRIPT_TOKEN.finditer(text):
        if not found["text"]:
            first = text.count("\n", 0, found.start()) + 1
            prose = re.sub(r"@\w+\s+\{.*\}\s*\S+|\{[^}\n]*\}+", " ", found[0])
            lines = (re.sub(r"^\s*/?\*+|\*+/\s*$", "", line) for line in prose.splitlines())
            yield from enumerate(lines, first)


def _script_texts(text: str) -> Iterator[tuple[int, str]]:
    """Return the strings of a script, without the code between the words of a template."""
    for found in _SCRIPT_TOKEN.finditer(text):
        if found["text"]:
            yield text.count("\n", 0, found.start()) + 1, re.sub(r"\$\{[^}]*\}", "…", found["text"][1:-1])


def _sentences(path: str, text: str) -> Iterable[tuple[int, str]]:
    if path.endswith(".py"):
        return _prose(text)
    return _script_comments(text) if path.endswith((".js", ".ts")) else enumerate(text.splitlines(), 1)


def _prose(text: str) -> Iterator[tuple[int, str]]:
    """Return the lines of docstrings and the comments of a module."""
    lines = text.splitlines()
    for node in _parsed(text):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                yield from enumerate(lines[node.lineno - 1 : node.end_lineno], node.lineno)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def undescribed_targets(makefile: str) -> Iterator[str]:
    """Report public make targets that ``make help`` does not show."""
    for phony in re.findall(r"^\.PHONY:(.*)$", makefile, re.MULTILINE):
        for target in phony.split():
            if not re.search(rf"^{re.escape(target)}:.*## \S", makefile, re.MULTILINE):
                yield f"Makefile: {target} has no '## text' for help"


@cache
def _parsed(text: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(text)))


def _nodes(files: Files) -> Iterator[tuple[str, ast.AST]]:
    for path, text in files.items():
        if path.endswith(".py"):
            # several rules read the product, one all else
            for node in _parsed(text) if path.startswith("gateway/") else ast.walk(ast.parse(text, path)):
                yield path, node


def _construct_fault(path: str, node: ast.AST) -> str | None:
    match node:
        case ast.Name(id="NotImplementedError"):
            return f"{node.lineno}: a stub; finish it or leave it out"
        case ast.Call(func=ast.Attribute(value=owner, attr="create_task")) if not _owns_tasks(owner):
            return f"{node.lineno}: {ast.unparse(owner)} owns no tasks; use a TaskGroup"
        case ast.Call(func=ast.Name(id="getattr"), args=[_, name, *_]) if not isinstance(name, ast.Constant):
            return f"{node.lineno}: getattr on data; dispatch by match on types"
        case ast.FunctionDef() | ast.AsyncFunctionDef() if _passes_users(path) and _turns_errors(node):
            return f"{node.lineno}: {node.name} keeps its block's frame since Python 3.12; use MappedErrors"
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[_, ast.Name(id="Any")])):
            return None if _maps_the_wire(path) else f"{node.lineno}: dict[str, Any] past the wire; type it"
        case _:
            return None


def _turns_errors(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether a context manager that is a generator ends an error of its block, or raises another."""
    if not any("contextmanager" in ast.unparse(each) for each in function.decorator_list):
        return False
    tries = [each for each in ast.walk(function) if isinstance(each, ast.Try)]
    around = [each for each in tries if any(_yields(step) for step in each.body)]
    handlers = [handler for each in around for handler in each.handlers]
    return any(not _raises_again(handler) for handler in handlers)


def _yields(step: ast.stmt) -> bool:
    return any(isinstance(each, ast.Yield) for each in ast.walk(step))


def _raises_again(handler: ast.ExceptHandler) -> bool:
    raises = [each for each in ast.walk(handler) if isinstance(each, ast.Raise)]
    return isinstance(handler.body[-1], ast.Raise) and all(each.exc is None for each in raises)


def _passes_users(path: str) -> bool:
    """Whether what people typed passes through a module."""
    return not path.startswith(("gateway/app/", "gateway/simulator/"))


def _owns_tasks(owner: ast.expr) -> bool:
    return re.search(r"(?i)(group|tasks|\btg)$", ast.unparse(owner)) is not None


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    if ast.get_docstring(node, clean=False) is None:
        return 0
    first = node.body[0]
    return (first.end_lineno or first.lineno) - first.lineno + 1


def _maps_the_wire(path: str) -> bool:
    return not path.startswith(("gateway/core/", "gateway/domain/", "gateway/runtime/"))


def _rows(documented: str) -> Iterator[re.Match[str]]:
    return _DOC_ROW.finditer(documented)


def _resolve(folder: PurePosixPath, target: str) -> str:
    parts: list[str] = list(folder.parts)
    for part in PurePosixPath(target).parts:
        if part == "..":
            if parts:
                parts.pop()
        elif part != ".":
            parts.append(part)
    return str(PurePosixPath(*parts))
