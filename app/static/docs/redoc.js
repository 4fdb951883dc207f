// Starts ReDoc on the page's element; the document's address is given there.
const element = document.getElementById("redoc");
const fonts = "system-ui, sans-serif";
Redoc.init(
  element.dataset.url,
  {
    disableSearch: false,
    hideDownloadButton: false,
    theme: { typography: { fontFamily: fonts, headings: { fontFamily: fonts }, code: { fontFamily: "ui-monospace, monospace" } } },
  },
  element,
);
