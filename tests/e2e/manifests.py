"""Objects of the tests' own: the namespace, S3 and SMTP for the service, and a stranger among its pods."""

from typing import Any

from tests.e2e.cluster import Object

S3_PORT = 8333
SMTP_PORT = 1025
S3_SECRET = "only-for-these-tests"
BUCKET = "imports"
MAILS = "/data/mail"
ECHO_PORT = 7000

#: Answers whoever connects: to be reached, or not.
ECHO = f"""
import socketserver
class Answer(socketserver.BaseRequestHandler):
    def handle(self): self.request.sendall(b"here")
socketserver.ThreadingTCPServer(("0.0.0.0", {ECHO_PORT}), Answer).serve_forever()
"""


def namespace(name: str) -> Object:
    """Return a namespace that takes restricted pods alone."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "app.kubernetes.io/managed-by": "e2e"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def pod(name: str, image: str, command: list[str], **container: Any) -> Object:
    """Return a restricted pod, labelled with its name."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "runAsGroup": 10001,
                "fsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": name,
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": command,
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    **container,
                }
            ],
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    }


def support(image: str) -> list[Object]:
    """Return S3 and SMTP, and a Service for both."""
    server = pod(
        "support",
        image,
        ["python", "-m", "tests.e2e.support.serve", "/data", str(S3_PORT), str(SMTP_PORT), S3_SECRET, BUCKET],
        readinessProbe={"exec": {"command": ["test", "-e", "/data/ready"]}, "periodSeconds": 1},
        resources={"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
    )
    ports = [{"name": "s3", "port": S3_PORT}, {"name": "smtp", "port": SMTP_PORT}]
    service: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "support"},
        "spec": {"selector": {"app": "support"}, "ports": ports},
    }
    return [server, service]


def stranger(image: str) -> Object:
    """Return a pod of somebody else, which answers at ``ECHO_PORT``."""
    return pod("stranger", image, ["python", "-c", ECHO])


def hermit(image: str) -> list[Object]:
    """Return a pod that answers at ``ECHO_PORT``, and a policy of the tests' own that lets nobody in."""
    policy: Object = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "hermit"},
        "spec": {"podSelector": {"matchLabels": {"app": "hermit"}}, "policyTypes": ["Ingress"]},
    }
    return [policy, pod("hermit", image, ["python", "-c", ECHO])]
