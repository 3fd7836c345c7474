"""Video files: decoding of untrusted ones, and encoding of clips as MP4 and animated WebP.

Imports `builders.files`, `builders.resizing`; PyAV is imported by `builders.video.pyav` alone, when it is first used.
"""
