"""English names of colours, as an aid to reading: the nearest of sixteen.

The names are the eleven basic terms of Berlin and Kay 1969 (Basic color terms) and five that shops use beside them. Each
stands for colours of surfaces: the centroids of those classes of the ISCC-NBS system whose own name says it (Kelly and
Judd 1976, Color: universal language and dictionary of names, NBS special publication 440), in sRGB. Beside them stand a few
that are brighter than surfaces, of CSS and of Munroe 2010 (Color survey results), since pictures of products are, too. Where
shops' words divide a class otherwise, that is told below.
"""

from functools import cache

import numpy as np

from models.vision.colours import hyab, lab

LIGHTNESS = 0.5
"""Of a difference in lightness what counts: folds and lamps change it, and not the name. CIE94 halves it for textiles, too."""
NAMES = {
    # With those that are blackish by a shade.
    "black": "000000 222222 202428 1e2321 28201c 282022 242124 25241d",
    "white": "ffffff f2f3f4 e9e9ed dfede8 eae3e1 e8e3e5 f0ead6",
    "grey": "808080 848482 b9b8b5 555555 81878b 51585e b4bcc0 7d8984 4e5755 b2beb5 8e8279 5b504f "
    "8a8776 57554c 8f817f c1b6b3 8b8589 5d555b bfb9bd",
    "red": "ff0000 dc143c b22222 be0032 bc3f4a 841b2d ab4e52 a8516e",
    "orange": "ffa500 e25822 d9603b f38400 fd943f ed872d be6516 fab57f d99058",
    "yellow": "ffff00 f3c300 fada5e d4af37 af8d13 f8de7e c9ae5d f6a600 ffc14f eaa221 dcd300 e9e450 "
    "beb72e eae679",
    "green": "00ff00 008000 8db600 bdda57 7e9f2e 467129 c9dc89 83d37d 44944a 00622d b6e5af 93c592 "
    "679267 355e3b 173620 008856 3eb489 007959 8ed1b2 6aab8e 3b7861 1b4d3e 1c352d c7e6d7 "
    "8da399 5e716a 3a4b47 1a2421",
    # With what is greenish or purplish.
    "blue": "0000ff 4169e1 1e90ff add8e6 0343df 0504aa 2242c7 00a1c2 4997d0 0067a5 00416a a1caf1 "
    "70a3cc 436b95 bcd4e6 91a3b0 536878 30267a 6c79b8 545aa7 b3bce2 8791bf 4e5180 c0c8e1 "
    "8c92ac 4c516d 0085a1 239eba 007791 9cd1dc 66aabc 367588",
    # With violet.
    "purple": "800080 7e73b8 604e97 32174d dcd0ff 8c82b6 604e81 2f2140 c4c3dd 9690ab 554c69 9a4eae "
    "d399e6 875692 602f6b 401a4c d5badb b695c0 86608e 563c5c 301934 d6cadd aa98a9 796878 "
    "50404d 291e29 870074 9e4f88 702963 54194e b784a7 915c83 5d3954 341731 aa8a9e 836479",
    # With magenta: vivid and strong purplish reds.
    "pink": "ffc0cb ff00ff ffb5ba ea9399 e4717a f9ccca dea5a4 c08081 ead8d7 c4aead f99379 f4c2c2 "
    "d9a6a9 c48379 ffc8d6 e68fac de6fa1 efbbcc d597ae c17e91 e8ccd7 c3a6b1 ce4676 b3446c "
    "af868e ad8884",
    # With brownish and dark reddish orange.
    "brown": "882d17 56070c a87c6d 79443b 3e1d1e 977f73 674c47 43302e 80461b 593319 a67b5b 6f4e37 "
    "422518 958070 635147 3e322c 996515 654522 c19a6b 826644 4b3621 7e6d5a 483c32 967117 "
    "6c541e 3b3121 ae6938 9e4732",
    # Pale and greyish yellows, the palest browns and pinks.
    "beige": "f5f5dc fad6a5 f3e5ab c2b280 ae9b82 c2ac99 ecd5c5 c7ada3 bfb8a5 a18f60",
    # Dark blues and dark purplish blues.
    "navy": "000080 00304e 252440 36454f 202830 272458",
    # Bluish greens, dark greenish blues.
    "turquoise": "40e0d0 008882 00a693 007a74 00443f 96ded1 66ada4 317873 004b49 002a29 004958 002e3b",
    # With olive green.
    "olive": "808000 665d1e 867e36 403d21 8c8767 5b5842 363527 404f00 4a5d23 2b3d26 515744 31362b "
    "8a9a5b",
    # Dark reds and dark purplish reds.
    "maroon": "800000 5c0923 722f37 3f1728 78184a 54133b 673147 38152c 543d3f 2e1d21",
}
"""Name to what it stands for, in hexadecimal sRGB."""


def named(colours: np.ndarray) -> np.ndarray:
    """Names (…) of colours (…, 3) in 0 to 255, an array of objects.

    >>> named(np.array([[200, 20, 30], [20, 30, 70]])).tolist()
    ['red', 'navy']
    """
    # One colour at a time, so that the last bit of none depends on how many there are.
    given = lab(colours[..., None, :])[..., 0, :]
    place = np.zeros(given.shape[:-1], np.int64)
    least = np.full(given.shape[:-1], np.inf)
    for at, surfaces in enumerate(_surfaces()):
        for surface in surfaces:
            gap = hyab(given, surface, LIGHTNESS)
            nearer = gap < least
            place[nearer], least[nearer] = at, gap[nearer]
    return np.array(list(NAMES), object)[place]


@cache
def _surfaces() -> tuple[np.ndarray, ...]:
    """The colours that each name stands for, in CIELAB (k, 3)."""
    return tuple(
        lab(np.array([list(bytes.fromhex(one)) for one in hexes.split()]))
        for hexes in NAMES.values()
    )
