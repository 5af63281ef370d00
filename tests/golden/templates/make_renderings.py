"""Makes renderings.json: small templates rendered by Jinja2 in the environment that transformers sets up (pip install jinja2).

usage: make_renderings.py > renderings.json
Each case is a template with variables and what comes out, or null where rendering fails.
"""
import json
from datetime import datetime

from jinja2.exceptions import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime(2025, 1, 2, 3, 4, 5)


def raise_exception(message):
    raise TemplateError(message)


env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
env.filters["tojson"] = lambda x, ensure_ascii=False, indent=None, separators=None, sort_keys=False: json.dumps(
    x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
env.globals["raise_exception"] = raise_exception
env.globals["strftime_now"] = lambda f: NOW.strftime(f)

VARIABLES = {
    "bos_token": "<s>", "eos_token": "</s>", "n": 7, "x": 2.5, "name": "Ada", "empty": "", "none_value": None, "yes": True, "numbers": [3, 1, 2, 3],
    "words": ["pear", "Apple", "fig"], "d": {"b": 1, "a": "two", "items": "own", "nested": {"k": [1, 2.0, None, True]}}, "text": "  Hello, World \n",
    "emoji": "a🦙é", "users": [{"name": "Bo", "age": 30, "on": True}, {"name": "al", "age": 25, "on": False}, {"name": "Cy", "age": 30}],
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi <b>"},
                 {"role": "assistant", "content": None, "tool_calls": [{"id": "abc", "function": {"name": "f", "arguments": {"q": "é\"\n", "n": 1.0}}}]},
                 {"role": "tool", "content": "42", "tool_call_id": "abc"}, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nIt is 42."}],
    "tools": [{"type": "function", "function": {"name": "f", "description": "Finds", "parameters": {"type": "object", "properties": {
        "q": {"type": "string", "description": "query"}, "n": {"type": ["number", "null"], "enum": [1, 2]}}, "required": ["q"]}}}],
}

EXPRESSIONS = r"""
n + 1 | n - 10 | n * x | n / 2 | n // 2 | -n // 2 | n % 4 | -n % 4 | 2 ** 10 | 2 ** -1 | 7.0 // 2 | -7.5 % 2 | 1e3 | 1e16 | 1e-5 | 0.1 + 0.2 | 123456789.0 | 1_000
'a' + 'b' | 'a' ~ 1 ~ none ~ true | 'ab' * 3 | [1] + [2] | (1, 2) + (3,) | 'a' 'b' | 1 + 'a' | 'a' + 1 | none + 1 | missing + 'a' | missing ~ 'a'
n == 7 | n != 7 | 1 == 1.0 | true == 1 | 'a' < 'b' | 1 < 2 < 3 | 1 < 3 < 2 | 'a' in 'abc' | 'z' not in 'abc' | 1 in [1, 2] | 'b' in d | 'a' < 1 | none == missing
not yes | yes and n | empty or name | none_value or 0 or 'x' | yes and not none_value | not n == 7 | missing and 1 | (not missing) and 'ok'
name if yes else 'no' | name if not yes | name if not yes else missing | 'a' if n > 5 else 'b' if n > 3 else 'c'
[1, 2.0, 'a', none, true, (1,), {}] | (1, 2) | () | {'a': 1, 2: 'b'} | {'a': 'it\'s'} | ["it's", 'say "x"', 'both \' and "'] | ['\n\t\\', '\x01', 'é🦙'] | {1: 'a', true: 'b'}
d.a | d['a'] | d.items | d['items'] | d.missing | d.missing.deeper | d['missing'] | d.nested.k[1] | d.nested.k[-1] | d.nested.k[9] | d.keys() | d.values() | d.get('a') | d.get('z') | d.get('z', 'dflt') | d.nested.items() | d.a.b.c
numbers[0] | numbers[-1] | numbers[10] | numbers[1:] | numbers[:-1] | numbers[::-1] | numbers[::2] | numbers[-3:-1] | numbers[5:1] | numbers[3:0:-1] | 'hello'[1:3] | 'hello'[::-1] | emoji[1] | emoji[1:] | emoji[::-1] | numbers.0 | numbers['x'] | 'abc'[5] | (1,2,3)[1:] | numbers[::0]
'  a b '.strip() | 'xxaxx'.strip('x') | 'xxaxx'.lstrip('x') | 'xxaxx'.rstrip('x') | 'a,b,,c'.split(',') | 'a,b,c'.split(',', 1) | ' a  b '.split() | ' a  b c'.split(none, 1) | 'a,b,c'.rsplit(',', 1) | 'abc'.split('') | 'a\nb\r\nc'.splitlines()
'abc'.startswith('a') | 'abc'.startswith(('x', 'a')) | 'abc'.endswith('c') | 'abc'.endswith(('x',)) | 'a.b.c'.replace('.', '-') | 'a.b.c'.replace('.', '-', 1) | 'abc'.replace('', '-') | 'abc'.find('c') | 'abc'.find('z') | 'abcabc'.rfind('b') | 'aXbX'.count('X') | 'abc'.index('b') | 'abc'.index('z')
'hello world'.title() | "it's o'clock".title() | 'hELLO wORLD'.capitalize() | 'Ab'.upper() | 'Ab'.lower() | 'Ab'.swapcase() | '-'.join(['a', 'b']) | '-'.join([1]) | ', '.join(d) | 'abc'.isdigit() | '12'.isdigit() | 'a b'.isalpha() | '7'.zfill(3) | '-7'.zfill(4) | 'a'.center(4) | 'a'.ljust(3) ~ '.' | 'a'.rjust(3, '*') | 'a=b=c'.partition('=') | 'a=b=c'.rpartition('=') | 'abc'.removeprefix('a') | 'abc'.removesuffix('c') | 'abc'.nothing | 'abc'.nothing() | 'abc'.strip(1, 2)
'%s is %d' % ('x', 3) | '%05.1f|%-5s|%5s|%+d' % (2.25, 'a', 'b', 4) | '%s' % name | '%s %s' % ('a',) | '%x' % 255 | '%%' % () | '%r' % 'a' | '%(a)s' % {'a': 1} | '%d' % 2.9 | '{} and {}'.format('a', 1) | '{1}{0}'.format('a', 'b') | '{k}'.format(k=3) | '{:>5}|{:<5}|{:^5}|{:05d}|{:.2f}'.format('a', 'b', 'c', 42, 3.14159) | '{:,}'.format(1234567) | '{{}}'.format() | '{0.x}'.format('a')
numbers|length | missing|length | 5|length | emoji|length | d|count | numbers|first | []|first | numbers|last | words|sort | words|sort(reverse=true) | words|sort(case_sensitive=true) | users|sort(attribute='age')|map(attribute='name')|list | numbers|unique|list | numbers|sum | users|sum(attribute='age') | numbers|min | numbers|max | words|max | []|max | numbers|reverse|list | 'abc'|reverse
words|join(', ') | numbers|join | users|join('/', attribute='name') | words|map('upper')|join(',') | words|map('replace', 'p', 'q')|list | users|map(attribute='name')|list | users|map(attribute='zip', default='-')|list | users|selectattr('on')|map(attribute='name')|list | users|selectattr('age', 'equalto', 30)|map(attribute='name')|list | users|rejectattr('on', 'defined')|map(attribute='name')|list | users|selectattr('age', '>', 26)|list|length | numbers|select('odd')|list | numbers|reject('odd')|list | numbers|select|list | numbers|select('gt', 1)|list | [0, 1, '', 'a']|select|list | words|map|list | words|map('nope')|list
d.nested|tojson | d|tojson | 'é<>&"\\\n\x7f\x01🦙'|tojson | [1, 1.0, 1e20, -0.5, none, true]|tojson | {'b': 1, 'a': 2}|tojson(sort_keys=true) | [1, [2, {}], [], {'a': []}]|tojson(indent=2) | {'a': [1]}|tojson(indent=4) | [1, 2]|tojson(separators=(',', ':')) | 'é'|tojson(ensure_ascii=true) | missing|tojson | (1, 2)|tojson | {1: 2, none: 3, true: 4}|tojson | {}|tojson | [1]|tojson(indent='\t') | ['a']|tojson(nonsense=1)
text|trim | text|trim|length | 'xxaxx'|trim('x') | name|upper | name|lower | 'a-b (c) d_e'|title | 'ABC def'|capitalize | 'a.b'|replace('.', '!') | 'aaa'|replace('a', 'b', 2) | 12|replace('1', 'x') | missing|default('dd') | missing|d('dd') | empty|default('dd') | empty|default('dd', true) | none_value|default('dd') | missing|default | 42|string + '!' | '42'|int | '42.9'|int | 'zz'|int | 'zz'|int(5) | 3.9|int | '0x1f'|int(0, 16) | '1.5'|float | 'q'|float | true|int | none|int | 42.55|round | 42.55|round(1, 'floor') | 42.45|round(1) | 5|round | 2.5|round | 7|round(1, 'ceil') | -3|abs | -2.5|abs | '<a href="x">\'&'|e | 'x'|safe | 'a\nb\n\nc'|indent | 'a\nb\n\nc'|indent(2, true) | 'a\nb\n\nc'|indent(2, blank=true) | 'a\nb'|indent('> ') | 'a b c'|wordcount | '<b>x</b> y'|striptags | 'hello world foo'|truncate(9) | 'a/b c'|urlencode | 'x'|center(5) ~ '|' | 'x'|nope | '%s-%s'|format('a', 1) | 'abc'|list | d|list | 5|list | missing|list
d|items|list | missing|items|list | 5|items | d.nested|dictsort | {'b': 1, 'A': 2}|dictsort | {'b': 1, 'a': 2}|dictsort(by='value') | {'b': 1, 'a': 2}|dictsort(reverse=true) | numbers|batch(3)|list | numbers|batch(3, 0)|list | numbers|slice(3)|list | [1, 'a']|sort | d|attr('nested')
none_value|map('upper')|list | 0|select|list | false|selectattr('on')|list | none|rejectattr('on')|join | 5|map('upper')|list | 'y' if numbers|select('gt', 9) else 'n' | numbers|select|length | (numbers|map('string'))[0] is defined | numbers|map('string')|last | numbers|select|tojson | numbers|reverse|tojson | 3 in numbers|select('odd') | d|items is sequence | d|items is iterable | numbers|map('string')|first
' a  b  c '.split(none, 1) | ' a  b  c '.rsplit(none, 1) | ' a  b  c '.split(maxsplit=0) | 'a-b-c'.rsplit('-', 1) | 'a\u2003b\x1cc'.split() | 'hello'.find('l', 3) | 'hello'.find('l', 4) | 'hello'.rfind('l', 0, 3) | 'hello'.index('l', -2) | 'hello'.rindex('l') | 'hello'.count('l', 3) | 'hello'.startswith('l', 2) | 'hello'.endswith('ell', 0, 4) | 'hello'.startswith(('x', 'lo'), -2) | 'abc'.find('', 3) | 'abc'.find('', 4) | 'abc'.count('', 1)
42|safe + 'x' | "it's 2.5-fold"|wordcount | 10 % 1e-5 | -7.5 // 2 | 1e16 // 3 | none_value[1:] | d[1:]
name is defined | missing is defined | missing is undefined | missing is not defined | none_value is none | none is not none | name is string | n is string | n is number | true is number | x is number | n is integer | true is integer | x is float | d is mapping | words is mapping | words is sequence | name is sequence | d is sequence | n is iterable | name is iterable | d is iterable | true is boolean | 1 is boolean | true is true | 1 is true | false is false | n is odd | n is even | n is divisibleby 7 | n is divisibleby(2) | n is in [7, 8] | 'a' is in('abc') | n is eq 7 | n is equalto 7 | n is ne 7 | n is lt 8 | n is gt(8) | n is ge 7 | n is sameas 7 | none is sameas none | range is callable | n is callable | 'ABC' is upper | 'abc' is lower | n is nope | n is not divisibleby 7 | d.z is defined | d.z.y is defined | n is string or n is number | not name is defined
range(3)|list | range(1, 7, 2)|list | range(3, 0, -1)|list | range(100001)|list | dict(a=1, b='x') | dict(d, z=1)|length | dict([('a', 1)]) | namespace(a=1).a | namespace().b | strftime_now('%Y-%m-%d %H:%M:%S') | strftime_now('%d %B %Y, %b %a %A %y %j %I %p %-d %%') | raise_exception('boom') | nope() | name() | cycler('a', 'b').next() | joiner('; ')() ~ 'x'
words.append('x') | d.update({'a': 1}) | words.pop() | name.__class__ | d.__class__ | ''.__class__.__mro__ | name._private | words.index('fig') | numbers.count(3) | words.index('zz')
1 if | (1 | [1 | {1 | 'a | n.. | n | | n || m
""".strip("\n").split("\n")

TEMPLATES = [
    "a\n", "a\n\n", "a\r\nb\rc", "{{ name }}\n{{ name }}\n", "{# c #}\nx", "a {# c #} b", "a\n  {# c #}\n  b", "a\n  {#- c -#}\n  b",
    "{% if yes %}\n  A\n{% endif %}\nB", "  {% if yes %}\n  A\n  {% endif %}\nB", "  {%- if yes -%}\n  A\n  {%- endif -%}\nB", "x  {% if yes %}y{% endif %}  z",
    "  {%+ if yes %}y{% endif +%}\nz", "  {{ name }}  \n", "  {{- name -}}  \n", "{% raw %}{{ x }}{% endraw %}", "a\n  {% raw %}\n {% x {% endraw %}\n b", "{%- raw -%}  {{ {%- endraw -%}  b",
    "{{ '}}' }}", "{{ {'a': {'b': 1}}['a'] }}", "{% set s = '%}' %}{{ s }}", "{{ \"{% if %}\" }}", "{{'a'}}{{'b'}}", "{{ }}", "{% if %}{% endif %}", "{% if yes %}", "{% endif %}", "{% for %}{% endfor %}",
    "{% unknown %}", "{{ name", "{# open", "{% set = 1 %}", "{% set true = 1 %}", "{% for x in words %}{{ x }}", "{% if yes %}a{% else %}b{% else %}c{% endif %}", "{{ ) }}", "{{ 'a\\", "{{ name $ }}",
    "{% include 'x' %}", "{% extends 'x' %}", "{% import 'x' as y %}", "{% from 'x' import y %}",
    "{% for w in words %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ w }};{% endfor %}",
    "{% for w in words %}{{ loop.previtem }}<{{ w }}>{{ loop.nextitem }};{% endfor %}", "{% for w in words %}{{ loop.cycle('odd', 'even') }}{{ loop.depth }}{% endfor %}",
    "{% for n in [1, 1, 2] %}{{ loop.changed(n) }}{% endfor %}", "{% for k, v in d.nested.items() %}{{ k }}={{ v }}{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}",
    "{% for a, b in [(1, 2), (3, 4)] %}{{ a + b }} {% endfor %}", "{% for a, b in [(1, 2, 3)] %}{% endfor %}", "{% for x in [] %}a{% else %}none{% endfor %}", "{% for x in words %}{{ x }}{% break %}{% else %}none{% endfor %}", "{% for x in words %}{% continue %}{% else %}none{% endfor %}", "{% for x in words %}{{ x }}{% if loop.index == 2 %}{% break %}{% endif %}{% else %}none{% endfor %}", "{% set g = words|map('upper') %}{% for x in g %}{{ x }}{{ loop.length }}{% endfor %}|{% for x in g %}{{ x }}{% endfor %}", "{% for x in words %}a{% else %}none{% endfor %}",
    "{% for u in users if u.age == 30 %}{{ loop.index }}/{{ loop.length }}{{ u.name }}{% else %}-{% endfor %}", "{% for u in users if u.age == 99 %}{{ u.name }}{% else %}-{% endfor %}",
    "{% for x in numbers %}{% if x == 1 %}{% continue %}{% endif %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}", "{% for x in 5 %}{% endfor %}", "{% for x in missing %}a{% endfor %}|", "{% for c in 'héy' %}{{ c }}.{% endfor %}",
    "{% for x in [1, [2, [3]]] recursive %}{% if x is iterable %}<{{ loop(x) }}>{% else %}{{ x }}@{{ loop.depth }}{% endif %}{% endfor %}", "{% for x in words %}{{ loop }}{% endfor %}|"[:0] or "{{ loop }}",
    "{% set a = 1 %}{% for x in words %}{% set a = a + 1 %}{{ a }}{% endfor %}{{ a }}", "{% set ns = namespace(a=1) %}{% for x in words %}{% set ns.a = ns.a + 1 %}{% endfor %}{{ ns.a }}", "{% set d.a = 1 %}", "{% set q.a = 1 %}",
    "{% set a, b = 1, 2 %}{{ b }}{{ a }}", "{% set a = 1, 2 %}{{ a }}", "{% set a %}x{{ name }}{% endset %}[{{ a }}]", "{% set a | upper | trim %}  x{{ name }} {% endset %}[{{ a }}]", "{% if yes %}{% set a = 5 %}{% endif %}{{ a }}", "{% for i in [1] %}{% set zz = 5 %}{% endfor %}{{ zz }}",
    "{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}", "{% filter upper %}a{{ name }}{% endfilter %}", "{% filter replace('a', 'b') | upper %}aaa{% endfilter %}",
    "{% macro f(a, b=2, c='x') %}{{ a }}-{{ b }}-{{ c }}{% endmacro %}{{ f(1) }}|{{ f(1, 3) }}|{{ f(1, c=9) }}|{{ f() }}", "{% macro f(a) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, z=3) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}",
    "{% macro f() %}[{{ caller() }}]{% endmacro %}{% call f() %}body{% endcall %}", "{% macro f(xs) %}{% for x in xs %}{{ caller(x) }}{% endfor %}{% endmacro %}{% call(y) f([1, 2]) %}<{{ y }}>{% endcall %}",
    "{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(4) }}", "{% set g = 'outer' %}{% macro f() %}{{ g }}{% endmacro %}{{ f() }}", "{% macro f() %}{% set inner = 1 %}{{ inner }}{% endmacro %}{{ f() }}{{ inner }}", "{% macro f() -%}  x  {%- endmacro %}[{{ f() }}]", "{{ f }}{% macro f() %}{% endmacro %}"[:0] or "{{ f() }}{% macro f() %}x{% endmacro %}",
    "{% macro show(spec) -%}{% if spec.type is string %}{{ spec.type }}{% else %}{{ spec.type | join(' | ') }}{% endif %}{%- endmacro %}{% for t in tools %}{% for k, v in t.function.parameters.properties | items %}{{ k }}{{ '' if k in t.function.parameters.required else '?' }}: {{ show(v) }}{% if v.enum %} ({{ v.enum | map('string') | join(', ') }}){% endif %}\n{% endfor %}{% endfor %}",
    "{% for m in messages %}{{ m.role }}:{{ m.content }}{% if m.tool_calls is defined and m.tool_calls %}{% for c in m.tool_calls %}{{ c.function.name }}({{ c.function.arguments | tojson }}){% endfor %}{% endif %};{% endfor %}",
    "{%- set ns = namespace(system='', last=-1) %}{%- for m in messages %}{%- if m['role'] == 'system' %}{%- set ns.system = m['content'] %}{%- endif %}{%- if m.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system }}|{{ ns.last }}",
    "{%- for m in messages %}{%- if m.role == 'assistant' and m.content is string and '</think>' in m.content %}{{ m.content.split('</think>')[-1].lstrip('\\n') }}|{{ m.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') }}{%- endif %}{%- endfor %}",
    "{% for m in messages[::-1] %}{{ m.role }} {% endfor %}", "{% for m in messages[1:] %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate ' ~ loop.index0) }}{% endif %}{% endfor %}",
    "{% if tools is not none and tools | length > 0 %}{{ tools | tojson(indent=2) }}{% endif %}", "{% for t in tools %}{% set t = t.function %}{{ t.name }}{% for k, v in t.items() if k != 'name' %},{{ k }}={{ v if v is string else v | tojson }}{% endfor %}{% endfor %}",
    "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | first }}{{ (messages | selectattr('role', 'in', ['user', 'tool']) | list)[-1].content }}",
    "{{ messages | map(attribute='role') | unique | join(',') }}", "{% for age, group in users | groupby('age') %}{{ age }}:{{ group | map(attribute='name') | join(',') }};{% endfor %}",
    "{{ ('Cutting Knowledge Date: ' ~ strftime_now('%B %Y')) }}\n\n{{- '\\n\\nx' }}", "{{ not_there.x }}", "{{ not_there['x'] }}", "{{ 'a' if not_there else 'b' }}", "{{ [not_there] }}", "{{ not_there == not_there2 }}", "{{ not_there < 1 }}", "{{ not_there() }}", "{{ -not_there }}",
    "{% if 'x' in not_there %}a{% else %}b{% endif %}", "{{ 1 in 2 }}", "{{ messages[0]['content'] | trim + eos_token }}", "{{ bos_token + 'a' | upper + eos_token }}", "{{ -1 | abs }}", "{{ 2 * 3 ~ 4 }}", "{{ 1 + 2 ~ 3 + 4 }}", "{{ 2 ** 3 ** 2 }}", "{{ not 1 in [1] }}", "{{ (1 == 1) is true }}", "{{ 10 / 4 | int }}", "{{ 'a' is string and 'b' }}",
    "{%- if messages|length -%}\n\n  A\n\n{%- endif %}\n", "\n{% if yes %}\n\n{% endif %}\n\n", "a{% if yes %}\nb\n{% endif %}\nc\n", "\t{% if yes %}\t\n\tx\n\t{% endif %}", "{% if yes %}{# c #}\n{% endif %}x", "{{ name }}\n\n\n", "  \n  {%- set a = 1 %}\n  {{- a }}\n", "{% set a = 1 -%}\n\n x", "{% for i in [1, 2] %}\n{{ i }}\n{% endfor %}\nend",
    "{{ f }}{{ x.y }}{{ n.y }}", "{{ {'a': 1}.a }}{{ {'get': 1}['get'] }}", "{{ d.items() | list | length }}"[:0] or "{{ d.values() | list }}", "{{ loop is defined }}", "{% for x in [1] %}{{ loop is defined }}{% endfor %}", "{{ namespace is defined }}", "{{ (1, 2) == [1, 2] }}", "{{ 'é' | length }}{{ '🦙' | length }}{{ '🦙x'[1] }}",
    "{{ 1.0 }}{{ 100000.0 * 10 }}{{ 3 / 3 }}{{ 1e22 }}{{ 1.5e-7 }}{{ 12345678901234567890 }}", "{{ 3.0 | int }}{{ '3' * 2 }}", "{{ True }}{{ None }}{{ false }}", "{{ \"\\u00e9\\x41\\n\\q\" }}", "{{ 'a\\\nb' }}", "{{ n if n is defined and n > 3 else 0 }}", "{% if n is defined and not n is none %}y{% endif %}", "{{ words[n - 6] }}", "{{ words[-1:] }}", "{{ d['nested']['k'][0] + 1 }}",
]

cases = []
for line in EXPRESSIONS:
    for e in line.split(" | "):
        cases.append("{{ " + e.strip() + " }}")
cases += TEMPLATES
out = []
for t in cases:
    try:
        expected = env.from_string(t).render(**VARIABLES)
        if "<generator" in expected or " at 0x" in expected or "dict_" in expected:
            continue
    except Exception:
        expected = None
    out.append({"template": t, "expected": expected})
json.dump({"variables": VARIABLES, "cases": out}, __import__("sys").stdout, ensure_ascii=False, indent=1)
print()
