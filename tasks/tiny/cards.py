"""The tiny world's tasks, in the order of the CLIP tasks they stand for."""

from mergebench.tasks.tiny.families import (
    aerial,
    clothing,
    cursive,
    digits,
    faces,
    flowers,
    food,
    house_numbers,
    landcover,
    letters,
    objects,
    pets,
    reviews,
    scenes,
    signs,
    symbols,
    textures,
    thumbnails,
    tissue,
    unrelated,
    vehicles,
)

# A task's place decides its images: an entry's number seeds its renderer. New tasks go to the end.
ENTRIES = (
    scenes.TASK,
    vehicles.TASK,
    aerial.TASK,
    landcover.TASK,
    house_numbers.TASK,
    signs.TASK,
    digits.TASK,
    textures.TASK,
    flowers.TASK,
    tissue.TASK,
    faces.TASK,
    pets.TASK,
    objects.TASK,
    symbols.TASK,
    thumbnails.TASK,
    food.TASK,
    clothing.TASK,
    letters.TASK,
    cursive.TASK,
    reviews.TASK,
)
# Images of no task: another source of calibration images. There is no expert for it.
WITHOUT_EXPERT = (unrelated.TASK,)
