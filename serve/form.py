"""A file in a request's body: the body itself, or the one file in a form, as browsers and `curl -F` send it."""

from collections.abc import AsyncIterator

from starlette.requests import Request

from serve.answer import RequestError


async def file_in(request: Request, body: bytes) -> bytes:
    """Return the file that a body holds.

    Raises:
        RequestError: the form cannot be read, or has no file, or several.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return body
    from starlette.datastructures import UploadFile
    from starlette.formparsers import MultiPartException, MultiPartParser

    async def stream() -> AsyncIterator[bytes]:
        yield body

    try:
        form = await MultiPartParser(request.headers, stream(), max_files=1, max_fields=16).parse()  # type: ignore[arg-type]
    except MultiPartException as error:
        raise RequestError(f"the form cannot be read ({error.message}), but one with one file was expected") from error
    try:
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        if len(files) != 1:
            raise RequestError(f"the form has {len(files)} files, but one was expected; send the image as a file")
        return await files[0].read()
    finally:
        await form.close()
