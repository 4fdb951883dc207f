"""Recipes: how each type of resource is made in moto, and what AWS says of it then. Importing the package registers them."""

from tests.infra.rehearsal.making import data, memory, network, services

__all__ = ["data", "memory", "network", "services"]
