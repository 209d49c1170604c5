"""Names from outside as text that can do no harm: in a terminal, in Markdown, in HTML.

Ids, captions and encoder names are anything. A terminal obeys escape sequences, a Markdown table ends at a
pipe, a page runs a script, and direction overrides make a name read as another one.
"""

from __future__ import annotations

import html
import re
import unicodedata

# Control, format (direction overrides, zero-width), surrogates, private use, unassigned, line breaks.
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_JOINERS = {"\u200c", "\u200d"}  # Persian, Indic scripts and emoji need them
# A '[' opens a link unless it stands before the two numbers of an interval.
_MARKS = re.compile(r"[\\`*|~$]|(?<!\w)_|_(?!\w)|\[(?![-+.\d, ]+\](?![(\[:]))")


def shown(text: object) -> str:
    r"""The text with every invisible or controlling character written as its code.

    >>> print(shown("red\x1b[31m car\n"))
    red\x1b[31m car\n
    """
    return "".join(_visible(sign) for sign in str(text))


def in_html(text: object) -> str:
    """The text for an HTML element or a quoted attribute.

    >>> in_html('<b>"x"</b>')
    '&lt;b&gt;&quot;x&quot;&lt;/b&gt;'
    """
    return html.escape(shown(text), quote=True)


def in_markdown(text: object) -> str:
    r"""The text for a Markdown cell or sentence: no mark-up, no HTML, no end of the cell.

    >>> print(in_markdown("a|b <i> open_clip:*"))
    a\|b &lt;i&gt; open_clip:\*
    """
    safe = html.escape(_MARKS.sub(lambda mark: "\\" + mark[0], shown(text)), quote=False)
    return re.sub(r"(?i)\b(https?|ftp|www)(:|\.)", r"\1\\\2", safe)  # no link that nobody wrote as one


def _visible(sign: str) -> str:
    if unicodedata.category(sign) in _UNSEEN and sign not in _JOINERS:
        return sign.encode("unicode_escape").decode("ascii")
    return sign
