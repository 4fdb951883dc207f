"""The Pulumi program: what a stage needs on AWS, and what the chart must know of it."""
