"""The platform's backend; `app.main.create_app` wires it, each subpackage says which layer it is."""
