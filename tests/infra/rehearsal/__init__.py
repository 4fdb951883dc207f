"""The program on the real engine of Pulumi, against a stand-in of the AWS provider: ``make infra-rehearsal``."""
