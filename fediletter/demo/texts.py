"""What the demo says: letters of a small bag workshop, in French and English."""

from dataclasses import dataclass
from io import BytesIO

FOUNDER, PASSWORD = "atelier@riviere.example", "lin-et-cuir-bien-cousus"
TITLE = "Atelier Rivière"
DESCRIPTION = (
    "Deux ingénieures, des sacs en lin et en cuir végétal, faits pour durer. "
    "Une lettre quand nous avons quelque chose à dire."
)
SUBSCRIBER = "lea@lectrices.example"
TOPICS = ("Lin", "Cuir végétal", "Atelier")


@dataclass(frozen=True, slots=True)
class DemoLetter:
    """One letter of the demo."""

    title: str
    summary: str
    body: str
    language: str
    topics: tuple[str, ...]
    cover_alt: str = ""


FRENCH = DemoLetter(
    "Le lin de cette année est arrivé",
    "Douze rouleaux de lin normand, un nuancier plus court, et pourquoi nous avons renoncé "
    "au noir.",
    """Les douze rouleaux sont arrivés mardi, dans une camionnette qui sentait la paille. C'est
le lin de la récolte d'août : roui au champ, teillé à vingt kilomètres de là, tissé près de
Lille. Entre la graine et notre table de coupe, il n'a pas fait 400 km.

## Trois couleurs, pas davantage

Nous gardons l'*écru*, l'*ardoise* et la *garance*. Le noir disparaît : la teinture qui tenait
vraiment demandait un mordant que nous ne voulons plus manipuler. « Et pour un sac du soir ? »
nous a demandé une cliente. L'ardoise, de nuit, fait très bien l'affaire.

## Ce que cela change pour vous

- le grand cabas perd 60 g ;
- les anses sont doublées sur toute la longueur ;
- un sac rapporté à l'atelier est recousu sans frais, toujours.

> Un sac que l'on répare est un sac que l'on ne rachète pas. C'est mauvais pour le chiffre
> d'affaires, et c'est très bien ainsi.

La première série sera prête dans trois semaines.[^1] Répondez-nous si vous voulez voir les
nuances : nous postons des échantillons de tissu, pas des publicités.

[^1]: Si la surjeteuse le veut bien.
""",
    "fr",
    ("Lin", "Atelier"),
    "Un cabas en lin écru posé sur une table, anses en cuir couleur noisette",
)
ENGLISH = DemoLetter(
    "Why our leather smells of chestnut",
    "Six weeks in a pit of bark instead of one day in chromium: slower, stiffer, and it ages "
    "like wood.",
    """Most leather is tanned with chromium in a single day. Ours spends six weeks in pits of
chestnut bark, forty minutes from the workshop. It comes out stiff and pale, and it smells like a
forest after rain.

## What you will notice

1. The handles squeak for a fortnight. That is normal.
2. They darken where your hand holds them, and nowhere else.
3. A scratch can be rubbed away with a thumb.

We tried the cheaper sort once, for a single batch. It was perfect on the first day and tired on
the last day of the first winter.

Come and see the pits: the tannery opens its doors on the first Saturday of each month.
""",
    "en",
    ("Cuir végétal",),
)


def cover() -> bytes:
    """A drawing of a bag, as a JPEG."""
    from PIL import Image, ImageDraw  # noqa: PLC0415 (only the demo draws)

    image = Image.new("RGB", (1200, 630), "#efe6d8")
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 500, 1200, 630), fill="#cbb79c")
    pen.arc((470, 90, 730, 400), 180, 360, fill="#7a4a26", width=22)
    pen.polygon([(400, 240), (800, 240), (850, 540), (350, 540)], fill="#f7f0e3")
    pen.polygon([(400, 240), (800, 240), (805, 275), (395, 275)], fill="#e2d4bd")
    for x in range(420, 800, 24):
        pen.line((x, 258, x + 12, 258), fill="#7a4a26", width=3)
    pen.rectangle((560, 360, 640, 410), outline="#7a4a26", width=5)
    out = BytesIO()
    image.save(out, "JPEG", quality=88)
    return out.getvalue()
