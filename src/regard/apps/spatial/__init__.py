"""Where things are: boxes, points, counts, boxes in space, relations.

found = locate(connect("nano"), "desk.jpg", "red cup")
found.boxes[0].x1, found.to_coco(), found.draw().save("out.png")
"""

from regard.apps.spatial.camera import Camera as Camera
from regard.apps.spatial.locate import locate as locate
from regard.apps.spatial.located import Count as Count
from regard.apps.spatial.located import Located as Located
from regard.apps.spatial.located import Occlusion as Occlusion
from regard.apps.spatial.located import SpaceBox as SpaceBox
from regard.apps.spatial.relations import Relation as Relation
from regard.apps.spatial.relations import relations as relations
