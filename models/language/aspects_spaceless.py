"""Names of things in texts whose words have no spaces between them, found with what is said of them.

"房间很大", "服务态度不太好": what stands between the beginning of a clause, or 的, and a word of degree is a name, what
follows is an opinion. Both are kept where enough texts have them, and so each finds more of the other (Qiu et al.,
2011, Opinion Word Expansion and Target Extraction through Double Propagation). No dictionary is needed.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from models.language.aspects import Spoken

DEGREES_TEXT = (
    "不是很 不是太 不怎么 不够 不太 不算 并不 非常 特别 十分 相当 比较 还是 还算 稍微 实在 确实 极其 极端 极为 有点儿 有点 有些 "
    "更加 真的 真是 这么 那么 过于 略微 很 太 挺 蛮 真 超 极 最 更 都 也 还 够 好 不 略 较 稍"
)
DEGREE = "|".join(sorted(DEGREES_TEXT.split(), key=len, reverse=True))
SIGN = "\u3400-\u4dbf\u4e00-\u9fffA-Za-z0-9"
CLAUSE = re.compile(f"[{SIGN}《》]+")
CUT = "的了是得着过和与跟及把被对在从给让使就但却可而且虽然因为所以如果很太挺蛮都也还够不较更最算非常偏"
"""Signs that a name neither holds nor begins after; the name begins after the last of them."""
SUBJECTS_TEXT = (
    "我 你 您 他 她 它 咱 这 那 哪 谁 每 某 什么 怎么 感觉 觉得 总体 整体 总之 总的 其他 其它 个人 自己 大家 别人 一个 一些 一切 一样 "
    "有点 有些 时候 现在 以后 以前 之后 之前 今天 昨天 一直 一定 已经 而且 但是 不过 所以 因为 如果 虽然 可能 应该 真的 确实 实在 "
    "希望 建议 晚上 早上 下午 上午 孩子 宝宝 儿子 女儿 朋友 老婆 老公 同事 家人 客人 方面 地方 东东 没有 只有 还有 只是 就是 不是 "
    "尤其 特别 其实 反正 根本 完全 居然 竟然 基本 本身 结果 最后 前面 后来 看起来 用起来 里面 外面 有人 不能 不会 不用 买来 收到 使用 来说 本来 另外 似乎 毕竟 目前 原来 当时 由于 甚至 唯一 第二天 下次 难道 据说 平时 首先 看到 感到 会有 有个 有时 一本 一套 一家 一部 两个 几天 几乎 十分 相当 起码 至少 至于 尽管 估计 千万 令人 时间 只要 否则 永远 肯定 原本 同时 平均 本人 国内 人们"
)
NEVER = tuple(SUBJECTS_TEXT.split())
MARKS = "\\s的了啊吧呢哦哈呀啦，。！？；、,.!?;（()）"
DOING = frozenset(
    [
        "喜欢",
        "想",
        "爱",
        "会",
        "能",
        "要",
        "有",
        "是",
        "去",
        "看",
        "说",
        "用",
        "知道",
        "觉得",
        "推荐",
        "希望",
        "建议",
        "没有",
        "没",
        "可以",
        "应该",
        "不错过",
    ]
)
SAID = re.compile(f"({DEGREE})([\u4e00-\u9fff]{{1,4}}?)(?=$|[的了啊吧呢哦哈呀啦，。！])")
STRAIGHT = re.compile(f"(?:{DEGREE})+[\u4e00-\u9fff]{{1,2}}(?=$|[{MARKS}])")
LACKING = re.compile("(?:没有|没|无|缺少|缺乏|不带|不提供|不送)$")
SHORTEST, LONGEST = 2, 6
RATED = 0.05
"""Of the texts that have a name, the share that rate it."""
LEAN, LEAN_LONG = 0.15, 0.05
"""How far from the share of all texts the share of praise of a word of opinion must be, of one sign and of more."""
FILLING = frozenset("的了着过住买装")


@dataclass(frozen=True)
class Words:
    """names, opinions: known ones, longest first."""

    names: tuple[str, ...]
    opinions: tuple[str, ...]


def learn(texts: Sequence[str], sides: Sequence[int], least: int) -> Words:
    """The names and the words of opinion that at least `least` of `texts` have in the places that tell them.

    sides (n,): 1 for a text that praises, -1 for one that blames, 0 where that is not known. A word of opinion must
    lean to one side.
    """
    opinions: dict[str, Counter[int]] = {}
    for text, side in zip(texts, sides, strict=True):
        said = set()
        for clause in CLAUSE.finditer(text):
            said |= {match.group(2) for match in SAID.finditer(clause.group())}
        for word in said:
            opinions.setdefault(word, Counter())[side] += 1
    share = (sum(side > 0 for side in sides) + 1) / (sum(side != 0 for side in sides) + 2)
    words = {
        word
        for word, count in opinions.items()
        if sum(count.values()) >= least
        and word not in DOING
        and not set(word) & FILLING
        and _leans(count, share, len(word))
    }
    long = _words(sorted((word for word in words if len(word) > 1), key=_order))
    after = re.compile(f"(?:{DEGREE})+|(?:{long})$") if long else None
    names: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for text in texts:
        clauses = [clause.group() for clause in CLAUSE.finditer(text)]
        if after:
            names.update(
                {
                    name
                    for one in clauses
                    for match in after.finditer(one)
                    if (name := _name(one[: match.start()]))
                }
            )
    known = {
        name
        for name, count in names.items()
        if count >= least
        and not any(name.endswith(word) or name.startswith(word) for word in words)
    }
    match_known = _any(tuple(sorted(known, key=_order)))
    if match_known:
        for text in texts:
            seen.update({match.group() for match in match_known.finditer(text)})
    kept = [name for name in known if names[name] >= RATED * seen[name]]
    return Words(tuple(sorted(kept, key=_order)), tuple(sorted(words, key=_order)))


def _order(word: str) -> tuple[int, str]:
    return -len(word), word


def _leans(count: Counter[int], share: float, length: int) -> bool:
    """Whether texts that have a word are on one side more often than all texts are; of a long word little is asked."""
    total = count[1] + count[-1]
    if not total:
        return length > 1
    apart = abs((count[1] + share) / (total + 1) - share)
    return apart > (LEAN_LONG if length > 1 else LEAN)


def _name(before: str) -> str:
    """The name at the end of what stands before a word of degree, or nothing."""
    start = max((before.rfind(sign) for sign in CUT), default=-1) + 1
    name = before[start:]
    bad = any(word in name for word in NEVER)
    return name if SHORTEST <= len(name) <= LONGEST and not bad else ""


class SignFinder:
    """Names with what is said of them, in texts; by the words that `learn` found."""

    def __init__(self, words: Words) -> None:
        self.words = words
        self._names = _any(words.names)
        long = [word for word in words.opinions if len(word) > 1]
        short = [word for word in words.opinions if len(word) == 1]
        parts = [f"(?:{DEGREE})*(?:{_words(long)})"] if long else []
        if short:
            parts.append(f"(?:{DEGREE})+(?:{_words(short)})|(?:{_words(short)})(?=$|[的了])")
        self._opinions = re.compile("|".join(parts)) if parts else None

    def find(self, texts: Sequence[str]) -> list[Spoken]:
        """All of `texts`, in order; a clause without a name speaks of the last name before it in its sentence."""
        found: list[Spoken] = []
        if self._names is None or self._opinions is None:
            return found
        for row, text in enumerate(texts):
            last: tuple[int, int] | None = None
            edge = 0
            told: set[str] = set()
            for clause in CLAUSE.finditer(text):
                if re.search("[。！？!?\n]", text[edge : clause.start()]):
                    last = None
                edge = clause.end()
                names = [match.span() for match in self._names.finditer(text, *clause.span())]
                said = [match.span() for match in self._opinions.finditer(text, *clause.span())]
                said = [one for one in said if not any(a <= one[0] < b for a, b in names)]
                used: dict[tuple[int, int], tuple[int, int]] = {}
                for one in said:
                    about = _about(text, one, names, last)
                    if about:
                        used.setdefault(about, one)
                for name in names:
                    straight = STRAIGHT.match(text, name[1], clause.end())
                    if name not in used and straight:
                        used[name] = straight.span()
                    lack = LACKING.search(text[clause.start() : name[0]])
                    if name not in used and lack:
                        start = clause.start() + lack.start()
                        used[name] = (start, clause.start() + lack.end())
                for name, one in sorted(used.items()):
                    if text[slice(*name)] not in told:
                        told.add(text[slice(*name)])
                        found.append(Spoken(row, *name, *one))
                last = names[-1] if names else last
        return found


def _about(
    text: str, said: tuple[int, int], names: list[tuple[int, int]], last: tuple[int, int] | None
) -> tuple[int, int] | None:
    """The name after "…的", else the nearest before in the clause, else the last one of the clauses before."""
    if said[1] < len(text) and text[said[1]] == "的":
        for name in names:
            if name[0] == said[1] + 1:
                return name
    before = [name for name in names if name[1] <= said[0]]
    if before:
        return before[-1]
    return last if not names else None


def _words(words: Sequence[str]) -> str:
    return "|".join(map(re.escape, words))


def _any(words: Sequence[str]) -> re.Pattern[str] | None:
    return re.compile(_words(words)) if words else None
