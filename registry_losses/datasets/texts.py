"""Text files of other people: in whatever encoding they are, or refused by name."""

from __future__ import annotations

import codecs
import re
from xml.etree import ElementTree

from ..errors import DataError

_MARKS = (
    (codecs.BOM_UTF8, 'utf-8-sig'),
    (codecs.BOM_UTF16_LE, 'utf-16'),
    (codecs.BOM_UTF16_BE, 'utf-16'),
)
_DECLARED = re.compile(rb'^\s*<\?xml[^>]*?encoding\s*=\s*["\']([\w.:-]+)["\'][^>]*\?>')


def decode(content: bytes, path: object) -> str:
    """The text in a file: UTF-8, or what its byte order mark says.

    Raises:
        DataError: Naming the file, if it is neither.
    """
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), 'utf-8')
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(
            f'{path}: expected a text file in UTF-8, got other bytes: {error}'
        ) from error


def parse_xml(content: bytes, path: object) -> ElementTree.Element:
    """The root of an XML file, its tags in lower case and without namespaces.

    The parser knows few of the encodings that files declare (not GB2312, for instance);
    Python's own are tried where it does not.

    Raises:
        DataError: Naming the file, if it is none.
    """
    try:
        root = _parse(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f'{path}: broken XML: {error}') from error
    for node in root.iter():
        if isinstance(node.tag, str):
            node.tag = node.tag.rpartition('}')[2].lower()
    return root


def _parse(content: bytes) -> ElementTree.Element:
    declared = _DECLARED.match(content)
    if declared is None or declared[1].lower().startswith((b'utf', b'ascii', b'us-ascii')):
        return ElementTree.fromstring(content)
    text = content[declared.end() :].decode(declared[1].decode('ascii'))
    return ElementTree.fromstring(text)
