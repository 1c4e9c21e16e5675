"""The regular expressions of `extract`: what an answer looks like in English, Chinese and LaTeX.

Every repetition is bounded or cannot overlap the next, so matching takes linear time.
"""

import re

REACH = 200  # how much of the line after a letter is looked at
OPEN = r"""[\s*_`"'$(\[{<\\\u201c\u2018\u3010\u300c\u300a]{0,12}"""
CLOSE = r"""(?:[)\]}*`"$\\\u201d\u2019\u3011\u300d\u300b]|<[/|a-z]|['_](?!\w))"""
HAN = r"\u3400-\u9fff"
STARTS = rf"(?<![^\W_{HAN}])"  # no word runs into this point; Han script has no word breaks
ENDS = rf"(?![^\W_{HAN}])"
ALONE = rf"{ENDS}(?![-\u2010-\u2013+][^\W_])(?!['\u2019]s\b)"  # not C-terminal, Cys, C's
KIND = r"(?:(?:options?|choices?|letters?|answers?|statements?|number)\b|选项)"
NOT = r"(?<!\bnot\s)(?<!\bnot\sthe\s)(?<!n't\s)(?<!不是)"

THINK = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)
LATEX = re.compile(r"\\(?:text|math)[a-z]{0,6}\s?\{([^{}]*)\}")
BOX = re.compile(r"\\f?boxed\s?\{([^{}]*)\}")

CUE = re.compile(
    r"""
    (?<!/)\b(?: answers? (?:\s(?:choice|option|letter))?
      | (?:correct|right|best|final|my)\s(?:option|choice|statement|letter|one|pick) )
    (?:\s(?:to|for|that|here|among|of)\b[^\n.:]{0,80}?)?
    ["'*_`)\]]{0,4}\s?
    (?: \b(?:is|was|(?:would|should|must|will)\sbe)\b
        (?:,?\s(?:therefore|thus|hence|likely|probably|most\s(?:likely|probably)|clearly
           |definitely|indeed|simply|actually|then)\b)? ,?\s?:? | [:=>\u2192\u2010-\u2014-]{1,3} )
  | \bI(?:['\u2019](?:d|ll|m)|\swould|\swill|\sam|\smust)?(?:\stherefore|\sthus)?
    \s(?:choose|chose|select|pick|go\swith|going\swith|choosing|selecting)\b :?
  | (?:答案|正确的?选项|最佳选项)["'*_`)\]】]{0,4}\s?(?:应该|应当|应)?(?:是|为|选择?)?\s?:?
  | (?<!不)(?<!不应)(?<!不能)(?<!不该)选择?(?!项)\s?:?
    """,
    re.IGNORECASE | re.VERBOSE,
)
JUDGED = re.compile(
    rf"""
    (?: ^[^\w\n]{{0,12}} | (?<=[.!?:;,\u3002]){OPEN}
      | (?<!if\s)(?<!whether\s)\b(?i:{KIND}|that|so|thus|hence|therefore|think|believe|only)
        ,?\s?{OPEN} | (?:因此|所以|故|只有)\s?{OPEN} )
    (?P<more>[A-J]{CLOSE}{{0,6}}(?:,|\s(?:and|or|nor|&)\b|\s?[、和与及或])\s?
       (?:{KIND}\s)?{OPEN})?
    (?P<letter>[A-Z]){ALONE}[.:]?{CLOSE}{{0,6}}\s?(?:\([^()\n]{{0,80}}\)\s?)?
    (?: (?i:is|are|would\sbe|must\sbe)\s (?i:therefore\s|thus\s|clearly\s|indeed\s)?
        (?i: (?:the\s)?(?:most\s|only\s|single\s)?correct\b(?!\s(?:in|about|if|when|only)\b)
           | (?:the\s)?(?:right|best|most\s\w{{1,20}})\s(?:answer|option|choice)\b
           | the\s(?:final\s)?answer\b )
      | (?:选项|项)?\s?[是为]?(?:唯一)?正确 )
    """,
    re.MULTILINE | re.VERBOSE,
)

NAMED = re.compile(
    rf"{OPEN}(?i:(?:either|both)\s)?(?P<kind>(?i:the\s)?(?i:{KIND})\s?{OPEN})?"
    rf"(?P<letter>[A-Za-z]){ALONE}"
)
NUMBERED = re.compile(
    rf"{OPEN}(?:(?:the\s)?{KIND}\s?[#(*]{{0,3}}|(?<=\()|(?<=\[))(?P<number>\d{{1,3}}){ENDS}(?!\.\d)",
    re.IGNORECASE,
)
LETTER_RUN = re.compile(rf"{OPEN}([A-J]{{2,10}}){CLOSE}{{0,6}}[.\u3002]?$", re.MULTILINE)
# After "the correct option is", where a number can only be an option's.
BARE_NUMBER = re.compile(
    rf"{OPEN}(?P<number>\d{{1,2}}){ENDS}(?!\.\d)(?=\s?(?:$|[^\w\s]))", re.MULTILINE
)
OPTION_CUE = re.compile(r"\b(?:option|choice)\b|选项", re.IGNORECASE)
NEITHER = re.compile(rf"{OPEN}(?:none|neither|unknown|unclear)\b", re.IGNORECASE)
JOINED = re.compile(
    rf"""{CLOSE}{{0,6}}\s?(?:
      (?:,\s?)?(?:(?:and|or)\b|[&/+、]|以及|还是|[和或及与])\s?(?:{KIND}\s)?{OPEN}
        (?:[B-HJb-hj]{ALONE}|[AIai](?=\s?(?:$|[^\w\s'-]|(?:are|both|and|or|because)\b)))
      | [,;]\s?{OPEN}[A-Ja-j](?=\s?(?:$|[,;)\]*/&]|\.(?!\s?[a-z])|(?:and|or)\b)) )""",
    re.VERBOSE,
)
LATER = re.compile(rf"^[^.;]{{2,120}}\bor\s(?:{KIND}\s)?[*_`]{{0,3}}(?:\([A-J]\)|[A-J][.)]\s)")
CONNECTIVE = (
    r"(?:because|since|as|due\sto|which|but|though|although|over|rather\sthan|with|for\sthe"
    r"|based\son|given\sthat|not\s[A-J])\b|选项|项|因为|由于|是正确"
)
AFTER_UPPER = re.compile(
    rf"$|{CLOSE}|\s?[.,;:!(\u3001\u3002\u2014]|\s[-\u2013]|\s?(?:{CONNECTIVE})"
)
AFTER_LOWER = re.compile(r"""[*_`"'$]{0,4}(?:$|[.),;:\]}])""")
GENUS = re.compile(r"\.(?:[A-Za-z0-9]|\s(?!(?:because|since|as|this|the|it|its)\b)[a-z])")
LISTED = re.compile(r"[^\n]*\n[^\w\n]{0,6}B[.):]")

BARE_LINE = re.compile(
    rf"[>#\s-]{{0,6}}(?i:(?:so|thus|hence|therefore),?\s(?:it(?:['\u2019]s|\sis)\s)?)?"
    rf"(?i:(?:option|choice)\s)?{OPEN}([A-Za-z])[.:]?{CLOSE}{{0,8}}[.\u3002]?"
)
OPTION_LINE = re.compile(rf"[>#\s-]{{0,6}}{OPEN}([A-J])(?=[*)\]]{{0,4}}[.):\]])")
MARKED = re.compile(
    r"""(?:\*\*|__)[(\[]?(?P<bold>[A-J])(?=[)\].:]{0,2}(?:\*\*|__)|[).:]{1,2}\s[^*\n]{0,300}\*\*)
    | (?P<label>(?i:\b(?:\w{0,20}ine|\w{0,20}ate|acid|ala|cys|asp|glu|phe|gly|his|ile|fig\.
        |figure|panel|chain|complex|type|group)\s?|[\w)\]]))?
      [(\[](?P<bracketed>[A-J])(?=[)\]])""",
    re.VERBOSE,
)
MENTION = re.compile(
    rf"""
    (?P<no>\b(?:not|than|rul\w{{1,4}}\sout|(?:eliminat|exclud|reject)\w{{0,4}})\s|排除)?
    (?:\b(?:options?|choices?)\s?|选项\s?)[*_`"'(\[#]{{0,4}}
    (?:(?P<letter>(?-i:[A-HJ]|I(?!\s[a-z]))){ALONE}|(?P<number>\d{{1,2}}){ENDS}(?!\.\d))
    (?P<wrong>{CLOSE}{{0,4}}\s?
      (?:(?:is|was|seems|looks)\s(?:not|incorrect|wrong|false|unlikely)|不|错))?
    """,
    re.IGNORECASE | re.VERBOSE,
)
STRICT = re.compile(r"(?i:answer)\s?:\s?(?:\(([A-Z])\)|\[([A-Z])\]|([A-Z]))\s?[.\u3002]?")
