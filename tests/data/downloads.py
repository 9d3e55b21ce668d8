"""Small seeded files in the exact layouts of the public data sets that users download."""

import gzip
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

GENRES = ("Action", "Comedy", "Drama", "Film-Noir", "Sci-Fi")
ALL_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip


def criteo(path: Path, rows: int, seed: int = 1) -> None:
    """Write `train.txt` of the Kaggle challenge, packed if the name says so."""
    chance, lines = random.Random(seed), []
    for _ in range(rows):
        ids = [f"{chance.randrange(20) * 7919 + n:08x}" if chance.random() > 0.1 else "" for n in range(26)]
        numbers = [str(chance.randrange(-2, 400)) if chance.random() > 0.2 else "" for _ in range(13)]
        clicked = chance.random() < (0.1 if ids[0] < "00010000" else 0.5)
        lines.append("\t".join([str(int(clicked)), *numbers, *ids]))
    content = "".join(f"{line}\n" for line in lines).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


AVAZU = (
    "id", "click", "hour", "C1", "banner_pos", "site_id", "site_domain", "site_category", "app_id", "app_domain",
    "app_category", "device_id", "device_ip", "device_model", "device_type", "device_conn_type", "C14", "C15", "C16",
    "C17", "C18", "C19", "C20", "C21",
)  # fmt: skip


def avazu(path: Path, days: int, rows: int, seed: int = 2) -> None:
    """Write `train.csv`: `rows` a day from 2014-10-21 on, packed if the name says so."""
    chance, lines = random.Random(seed), [",".join(AVAZU)]
    for n in range(days * rows):
        hour = datetime(2014, 10, 21) + timedelta(hours=n * 24 // rows)
        site, banner = chance.randrange(30), chance.randrange(3)
        clicked = chance.random() < 0.05 + 0.01 * site + 0.1 * banner
        hashed = [f"{chance.randrange(50):08x}" for _ in range(7)]
        values = [
            f"{10**19 + n}",
            int(clicked),
            hour.strftime("%y%m%d%H"),
            1005,
            banner,
            f"{site:08x}",
            f"{site // 3:08x}",
        ]
        values += [
            *hashed,
            chance.randrange(2),
            chance.randrange(3),
            15706,
            320,
            50,
            chance.randrange(9),
            0,
            35,
            -1,
            79,
        ]
        lines.append(",".join(map(str, values)))
    content = "".join(f"{line}\n" for line in lines).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def movielens(folder: Path, layout: str, ratings: list[tuple[int, int, float, int]]) -> None:
    """Write ratings (user, movie, stars, Unix time) and 40 movies, in the layout 25m, 1m or 100k."""
    folder.mkdir(parents=True, exist_ok=True)
    movies = {n: (f"Película, {n} (1995)", [GENRES[n % 5], GENRES[(n + 2) % 5]] if n % 7 else []) for n in range(1, 41)}
    if layout == "25m":
        rows = [f"{u},{m},{r:.1f},{t}" for u, m, r, t in ratings]
        titles = [f'{n},"{title}",{"|".join(of) or "(no genres listed)"}' for n, (title, of) in movies.items()]
        _write(folder / "ratings.csv", ["userId,movieId,rating,timestamp", *rows], "utf-8")
        _write(folder / "movies.csv", ["movieId,title,genres", *titles], "utf-8")
    elif layout == "1m":
        titles = [f"{n}::{title}::{'|'.join(of)}" for n, (title, of) in movies.items()]
        _write(folder / "ratings.dat", [f"{u}::{m}::{r:.0f}::{t}" for u, m, r, t in ratings], "latin-1")
        _write(folder / "movies.dat", titles, "latin-1")
    else:
        _write(folder / "u.data", [f"{u}\t{m}\t{r:.0f}\t{t}" for u, m, r, t in ratings], "latin-1")
        flags = {
            n: "|".join(str(int(g in of or (not of and g == "unknown"))) for g in ALL_GENRES)
            for n, (_, of) in movies.items()
        }
        titles = [f"{n}|{title}|01-Jan-1995||http://us.imdb.com/M?{n}|{flags[n]}" for n, (title, _) in movies.items()]
        _write(folder / "u.item", titles, "latin-1")
        _write(folder / "u.genre", [*(f"{name}|{n}" for n, name in enumerate(ALL_GENRES)), ""], "latin-1")


def some_ratings(days: int, rows: int, seed: int = 3) -> list[tuple[int, int, float, int]]:
    """Draw ratings of 30 users and 40 movies, `rows` a day from 2015-01-01 on, ordered by user as GroupLens does it."""
    chance = random.Random(seed)
    start = int(datetime(2015, 1, 1, tzinfo=UTC).timestamp())
    pairs: set[tuple[int, int, int]] = set()
    found = []
    for day in range(days):
        while len(pairs) < (day + 1) * rows:
            user, movie = chance.randrange(1, 31), chance.randrange(1, 41)
            if (day, user, movie) in pairs:
                continue
            pairs.add((day, user, movie))
            stars = min(5.0, max(1.0, round(2 + 3 * chance.random() - 0.5 * (movie % 3))))
            found.append((user, movie, stars, start + 86_400 * day + chance.randrange(86_400)))
    return sorted(found, key=lambda rating: rating[0])


def mind(folder: Path, days: int, impressions: int, seed: int = 4) -> None:
    """Write `behaviors.tsv` (`impressions` a day from 2019-11-09 on) and `news.tsv` of 60 news."""
    folder.mkdir(parents=True, exist_ok=True)
    chance, lines = random.Random(seed), []
    kinds = ("sports", "finance", "news")
    for n in range(days * impressions):
        at = datetime(2019, 11, 9) + timedelta(seconds=n * 86_400 // impressions)
        user = chance.randrange(40)
        shown = chance.sample(range(60), 8)
        offered = " ".join(
            f"N{news}-{int(chance.random() < (0.4 if news % 3 == user % 3 else 0.05))}" for news in shown
        )
        history = " ".join(f"N{chance.randrange(60)}" for _ in range(chance.randrange(4)))
        time = f"{at.month}/{at.day}/{at.year} {at:%I:%M:%S %p}"  # as there: months, days and hours without zeros
        time = time.replace(" 0", " ")
        lines.append(f"{n + 1}\tU{user}\t{time}\t{history}\t{offered}")
    chance.shuffle(lines)  # as there: in no order
    news = [f'N{n}\t{kinds[n % 3]}\t{kinds[n % 3]}-{n % 2}\tA "title\tWords\thttps://x/{n}\t[]\t[]' for n in range(60)]
    _write(folder / "behaviors.tsv", lines, "utf-8")
    _write(folder / "news.tsv", news, "utf-8")


def clicks(path: Path, rows: int, seed: int = 5) -> None:
    """Write a day of a user's own: requests of four items each, on 2024-01-05."""
    chance = random.Random(seed)
    lines = ["request_id,item_id,at,click,user_id,price,genres"]
    for n in range(rows):
        request = n // 4
        item, at = (request * 7 + n % 4) % 60, datetime(2024, 1, 5) + timedelta(seconds=request * 4 * 86_400 // rows)
        genres = "|".join(GENRES[(item + k) % 3] for k in range(1 + item % 2))
        clicked = int(chance.random() < 0.1 + 0.3 * (item % 3 == 0))
        price = f"{chance.uniform(1, 9):.2f}"
        lines.append(f"r{request},{item},{at.isoformat()},{clicked},{request * 31 % 97},{price},{genres}")
    _write(path, lines, "utf-8")


def _write(path: Path, lines: list[str], encoding: str) -> None:
    path.write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))
