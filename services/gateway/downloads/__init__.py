"""A finished text as a file to read: HTML, EPUB, DOCX. Text in, bytes out, nothing else."""
