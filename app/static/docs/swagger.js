// Starts Swagger UI on the page's element; the document's address is given there.
const element = document.getElementById("swagger-ui");
SwaggerUIBundle({
  url: element.dataset.url,
  domNode: element,
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  validatorUrl: null, // nothing leaves this host
});
