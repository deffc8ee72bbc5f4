"""A folder of documents and videos, read in one go.

    python examples/llama_index_mixed_folder.py [FOLDER]

Without the extractor LlamaIndex would transcribe the sound of videos with Whisper. PDFs need
llama-index-readers-file. Real eyes: see describe_video.py.
"""

from film import folder
from llama_index.core import SimpleDirectoryReader
from llama_index.readers.tarsier import TarsierVideoReader

here = folder()
if not list(here.glob("*.pdf")):  # a small PDF, so that the example has something to mix
    words = b"BT /F1 24 Tf 72 720 Td (Notes about the films.) Tj ET"
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length " + str(len(words)).encode() + b">>stream\n" + words + b"\nendstream",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    )
    pdf, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(pdf))
        pdf += b"%d 0 obj%s endobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start, count = len(pdf), len(objects) + 1
    pdf += b"xref\n0 %d\n0000000000 65535 f \n%s" % (count, table)
    pdf += b"trailer<</Root 1 0 R/Size %d>>\nstartxref\n%d\n%%%%EOF" % (count, start)
    (here / "notes.pdf").write_bytes(pdf)

videos = TarsierVideoReader()
documents = SimpleDirectoryReader(
    str(here), file_extractor={".mp4": videos, ".mov": videos, ".mkv": videos}, raise_on_error=True
).load_data()
for document in documents:
    start = document.metadata.get("start")
    where = "" if start is None else f" @ {start:.0f} s"
    print(f"{document.metadata['file_name']}{where}: {document.text.strip()}")
