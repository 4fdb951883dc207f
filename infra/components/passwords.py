"""Passwords and keys that the program makes up."""

import pulumi
import pulumi_random as random

#: Characters, letters and digits alone, so that URLs need no quoting: 190 bits.
LENGTH = 32


def password(name: str, version: int, parent: pulumi.Resource, *, length: int = LENGTH) -> pulumi.Output[str]:
    """Return a random password, as a secret. In the state it is encrypted by the stack's secrets provider; nothing prints it.

    Args:
        name: Whose it is.
        version: Part of the resource's name: a new number makes a new password.
        parent: Whose child it is.
        length: In characters.
    """
    made = random.RandomPassword(f"{name}-{version}", length=length, special=False, opts=pulumi.ResourceOptions(parent=parent))
    return pulumi.Output.secret(made.result)
