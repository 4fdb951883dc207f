"""The HTTP side of the mail catcher: the mailbox page and its JSON."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from app.local.mail.store import MailStore

PAGES = Path(__file__).parent.parent / "pages"
ASSETS = ("mailbox.css", "mailbox.js")
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A mail may look as it likes and do nothing: no script, no form, no request to anywhere.
MAIL_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "frame-ancestors 'self'"
)
PLAIN = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


def create_mailbox(store: MailStore) -> Starlette:
    """Return the application that shows the mails of ``store``."""

    async def page(_: Request) -> Response:
        return FileResponse(PAGES / "mailbox.html", headers=PLAIN | {"Content-Security-Policy": PAGE_POLICY})

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        return FileResponse(PAGES / name, headers=PLAIN) if name in ASSETS else Response(status_code=404)

    async def messages(request: Request) -> Response:
        tag = store.tag
        if request.headers.get("If-None-Match") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        mails = store.newest_first()
        if address := request.query_params.get("to"):
            mails = [mail for mail in mails if address in mail["to"]]
        return JSONResponse(mails, headers=PLAIN | {"ETag": tag, "Cache-Control": "no-cache"})

    async def clear(_: Request) -> Response:
        store.clear()
        return Response(status_code=204)

    async def html(request: Request) -> Response:
        mail = store.get(request.path_params["id"])
        if mail is None or mail["html"] is None:
            return Response(status_code=404)
        return HTMLResponse(f'<base target="_blank">{mail["html"]}', headers=PLAIN | {"Content-Security-Policy": MAIL_POLICY})

    return Starlette(
        routes=[
            Route("/", page),
            Route("/assets/{name}", asset),
            Route("/api/messages", messages, methods=["GET"]),
            Route("/api/messages", clear, methods=["DELETE"]),
            Route("/messages/{id}", html),
        ],
        # A page elsewhere that makes its name point here must not read the mails.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
    )
