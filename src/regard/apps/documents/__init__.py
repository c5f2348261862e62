"""Documents: pictures, TIFF, PDF and folders to Markdown, HTML with boxes, JSON, text, searchable PDF and tables.

    read_page       one page, set upright and read line by line or as a whole -> `PageText`
    read_document   a file -> `DocumentText`
    convert         files and folders -> files, resumable -> `Converted`

On the way of a page: `ink` and its siblings find lines, tables and figures in the picture; `by_line` and `by_page` ask
the model; `qwenvl_html`, `qwenvl_markdown` and `tables` read its answers; `export` and `pdf_layer` write.
"""

from regard.apps.documents.convert import Converted as Converted
from regard.apps.documents.convert import convert as convert
from regard.apps.documents.convert import read_document as read_document
from regard.apps.documents.reader import Reading as Reading
from regard.apps.documents.reader import read_page as read_page
from regard.apps.documents.result import Block as Block
from regard.apps.documents.result import DocumentText as DocumentText
from regard.apps.documents.result import Line as Line
from regard.apps.documents.result import PageText as PageText
from regard.apps.documents.result import Table as Table
from regard.apps.documents.result import Word as Word
