"""Adapter projects: the folder that `tensafe init` makes and `tensafe train --config` reads.

from tensafe.project import create_project
project = create_project(domain="support", name="Support Routing", folder=None)
print(project.config)  # support-routing/tensafe.yaml
"""

from __future__ import annotations

from tensafe.project.scaffold import Project, create_project

__all__ = ["Project", "create_project"]
