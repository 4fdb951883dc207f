"""Processes killed at random under load: is anything acknowledged lost, is anything done twice?"""
