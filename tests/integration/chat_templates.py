"""Chat templates of model families, cut down to what they know, refuse and drop, and a tokenizer that is quick to make.

After the files of the models that each is named for, on the Hugging Face hub.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Family:
    """A family's chat template, and its marks.

    Attributes:
        template: in Jinja.
        special: tokens that the tokenizer calls special; the first ends a turn.
        plain: further tokens that the template is made of, which it does not.
    """

    template: str
    special: tuple[str, ...]
    plain: tuple[str, ...] = ()


CHATML = Family(  # HuggingFaceTB/SmolLM2-135M-Instruct, without its own system text
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    ("<|im_end|>", "<|im_start|>", "<|endoftext|>"),
)
QWEN = Family(  # Qwen/Qwen3-8B
    """\
{%- if tools %}
{{- '<|im_start|>system\\n' }}{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
{{- '# Tools\\n\\n<tools>' }}{%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}
{{- '\\n</tools>\\n\\n<tool_call>\\n{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call><|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}{%- endif %}
{%- for message in messages %}
{%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- elif message.role == 'assistant' %}
{%- set content = message.content %}
{%- if '</think>' in content %}{%- set content = content.split('</think>')[-1].lstrip('\\n') %}{%- endif %}
{{- '<|im_start|>assistant\\n' + content }}
{%- for call in message.tool_calls or [] %}
{%- if not loop.first or content %}{{- '\\n' }}{%- endif %}
{{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}{{- call.function.arguments | tojson }}
{{- '}\\n</tool_call>' }}
{%- endfor %}{{- '<|im_end|>\\n' }}
{%- elif message.role == 'tool' %}
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
{{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}
{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}""",
    ("<|im_end|>", "<|im_start|>", "<|endoftext|>"),
    ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"),
)
LLAMA = Family(  # meta-llama/Llama-3.1-8B-Instruct
    """\
{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] | trim %}{%- set messages = messages[1:] %}
{%- else %}{%- set system = '' %}{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' + system + '<|eot_id|>' }}
{%- if tools %}
{%- if messages | length == 0 %}{{- raise_exception('no first user message') }}{%- endif %}
{%- set first = messages[0]['content'] | trim %}{%- set messages = messages[1:] %}
{{- '<|start_header_id|>user<|end_header_id|>\\n\\nRespond in the format {"name": function name, "parameters": ' }}
{{- 'dictionary of argument name and its value}.\\n\\n' }}
{%- for tool in tools %}{{- tool | tojson(indent=4) + '\\n\\n' }}{%- endfor %}{{- first + '<|eot_id|>' }}
{%- endif %}
{%- for message in messages %}
{%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
{%- elif 'tool_calls' in message %}
{%- if not message.tool_calls | length == 1 %}
{{- raise_exception('This model only supports single tool-calls at once!') }}{%- endif %}
{%- set call = message.tool_calls[0].function %}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n{"name": "' + call.name + '", "parameters": ' }}
{{- call.arguments | tojson + '}<|eot_id|>' }}
{%- else %}
{{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' }}
{%- if message.content is mapping or message.content is iterable %}{{- message.content | tojson }}
{%- else %}{{- message.content }}{%- endif %}{{- '<|eot_id|>' }}
{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}""",
    ("<|eot_id|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|python_tag|>", "<|eom_id|>"),
)
MISTRAL = Family(  # mistralai/Mistral-7B-Instruct-v0.3
    """\
{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] %}{%- set said = messages[1:] %}
{%- else %}{%- set said = messages %}{%- endif %}
{%- set users = said | selectattr('role', 'equalto', 'user') | list %}
{%- set ns = namespace(index=0) %}
{%- for message in said %}
{%- if not (message.role == 'tool' or (message.tool_calls is defined and message.tool_calls is not none)) %}
{%- if (message['role'] == 'user') != (ns.index % 2 == 0) %}
{{- raise_exception('After the optional system message, conversation roles must alternate user/assistant') }}{%- endif %}
{%- set ns.index = ns.index + 1 %}{%- endif %}{%- endfor %}
{{- bos_token }}
{%- for message in said %}
{%- if message['role'] == 'user' %}
{%- if tools and message == users[-1] %}{{- '[AVAILABLE_TOOLS] ' + tools | tojson + '[/AVAILABLE_TOOLS]' }}{%- endif %}
{%- if loop.last and system is defined %}{{- '[INST] ' + system + '\\n\\n' + message['content'] + '[/INST]' }}
{%- else %}{{- '[INST] ' + message['content'] + '[/INST]' }}{%- endif %}
{%- elif message.tool_calls is defined and message.tool_calls is not none %}
{{- '[TOOL_CALLS] [' }}
{%- for call in message.tool_calls %}
{{- (call.function | tojson)[:-1] }}
{%- if not call.id is defined or call.id | length != 9 %}
{{- raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}{%- endif %}
{{- ', "id": "' + call.id + '"}' }}{%- if not loop.last %}{{- ', ' }}{%- else %}{{- ']' + eos_token }}{%- endif %}
{%- endfor %}
{%- elif message['role'] == 'assistant' %}{{- ' ' + message['content'] | trim + eos_token }}
{%- elif message['role'] == 'tool' %}
{{- '[TOOL_RESULTS] {"content": ' + message.content | tojson + ', ' }}
{%- if not message.tool_call_id is defined or message.tool_call_id | length != 9 %}
{{- raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}{%- endif %}
{{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
{%- else %}{{- raise_exception('Only user and assistant roles are supported') }}{%- endif %}{%- endfor %}""",
    (
        *("</s>", "<s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
        *("[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
    ),
)
GRANITE = Family(  # ibm-granite/granite-3.1-8b-instruct
    """\
{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] %}{%- set said = messages[1:] %}
{%- else %}{%- set system = 'You are Granite.' %}{%- set said = messages %}{%- endif %}
{{- '<|start_of_role|>system<|end_of_role|>' + system + '<|end_of_text|>\\n' }}
{%- if tools %}
{{- '<|start_of_role|>tools<|end_of_role|>' + tools | tojson(indent=4) + '<|end_of_text|>\\n' }}{%- endif %}
{%- for message in said %}
{%- if message['role'] == 'assistant' and message.tool_calls %}
{{- '<|start_of_role|>assistant<|end_of_role|><|tool_call|>' }}
{{- message.tool_calls | map(attribute='function') | list | tojson + '<|end_of_text|>\\n' }}
{%- else %}
{{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' + message['content'] + '<|end_of_text|>\\n' }}
{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_of_role|>assistant<|end_of_role|>' }}{%- endif %}""",
    ("<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>", "<|tool_call|>"),
)
PHI = Family(  # microsoft/Phi-3.5-mini-instruct
    "{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}"
    "{{'<|system|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'user' %}"
    "{{'<|user|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'assistant' %}"
    "{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
    ("<|end|>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>"),
)
GEMMA = Family(  # google/gemma-2-9b-it
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}"
    "{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}",
    ("<end_of_turn>", "<bos>", "<start_of_turn>", "<eos>"),
)
DEEPSEEK = Family(  # deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B
    """\
{%- set ns = namespace(system='', is_tool=false, first=true) %}
{%- for message in messages %}{%- if message['role'] == 'system' %}{%- set ns.system = message['content'] %}{%- endif %}
{%- endfor %}
{{- bos_token + ns.system }}
{%- for message in messages %}
{%- if message['role'] == 'user' %}{%- set ns.is_tool = false %}{{- '<｜User｜>' + message['content'] }}{%- endif %}
{%- if message['role'] == 'assistant' and message.tool_calls %}
{%- for call in message.tool_calls %}
{{- '<｜Assistant｜><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>' + call.function.name }}
{{- '\\n```json\\n' }}{{- call.function.arguments | tojson }}{{- '\\n```<｜tool▁call▁end｜>' }}{%- endfor %}
{{- '<｜tool▁calls▁end｜><｜end▁of▁sentence｜>' }}
{%- elif message['role'] == 'assistant' %}
{%- set content = message['content'] %}
{%- if '</think>' in content %}{%- set content = content.split('</think>')[-1] %}{%- endif %}
{{- '<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>' }}{%- endif %}
{%- if message['role'] == 'tool' %}
{{- '<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>' + message['content'] + '<｜tool▁output▁end｜><｜tool▁outputs▁end｜>' }}
{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<｜Assistant｜><think>\\n' }}{%- endif %}""",
    (
        *(
            "<｜end▁of▁sentence｜>",
            "<｜begin▁of▁sentence｜>",
            "<｜User｜>",
            "<｜Assistant｜>",
            "<｜tool▁calls▁begin｜>",
        ),
        *("<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"),
        *("<｜tool▁outputs▁begin｜>", "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>", "<｜tool▁outputs▁end｜>"),
    ),
    ("<think>", "</think>"),
)
GPT_OSS = Family(  # openai/gpt-oss-20b
    """\
{{- '<|start|>system<|message|>Reasoning: ' + (reasoning_effort or 'medium') + '<|end|>' }}
{%- if messages[0].role in ['developer', 'system'] %}{%- set developer = messages[0].content %}
{%- set said = messages[1:] %}{%- else %}{%- set developer = '' %}{%- set said = messages %}{%- endif %}
{%- if developer or tools %}
{{- '<|start|>developer<|message|># Instructions\\n\\n' + developer }}
{%- if tools %}{{- '\\n\\n# Tools\\n\\n## functions\\n\\nnamespace functions {\\n' }}
{%- for tool in tools %}{{- '// ' + tool.function.description + '\\ntype ' + tool.function.name + ' = (_: {' }}
{%- for name, schema in (tool.function.parameters.properties or {}).items() %}
{{- name + ': ' + schema.type + ',' }}{%- endfor %}{{- '}) => any;\\n' }}{%- endfor %}{{- '}' }}{%- endif %}
{{- '<|end|>' }}{%- endif %}
{%- set last = namespace(name='') %}
{%- for message in said %}
{%- if message.role == 'assistant' %}
{%- if 'tool_calls' in message %}
{%- set after = namespace(final=false) %}
{%- for later in said[loop.index:] %}{%- if later.role == 'assistant' and 'tool_calls' not in later %}
{%- set after.final = true %}{%- endif %}{%- endfor %}
{%- if message.content and not after.final %}
{{- '<|start|>assistant<|channel|>analysis<|message|>' + message.content + '<|end|>' }}{%- endif %}
{%- set call = message.tool_calls[0].function %}
{{- '<|start|>assistant to=functions.' + call.name + '<|channel|>commentary json<|message|>' }}
{{- call.arguments | tojson }}{{- '<|call|>' }}{%- set last.name = call.name %}
{%- else %}{{- '<|start|>assistant<|channel|>final<|message|>' + message.content + '<|end|>' }}{%- endif %}
{%- elif message.role == 'tool' %}
{{- '<|start|>functions.' + last.name + ' to=assistant<|channel|>commentary<|message|>' + message.content | tojson }}
{{- '<|end|>' }}
{%- elif message.role == 'user' %}{{- '<|start|>user<|message|>' + message.content + '<|end|>' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start|>assistant' }}{%- endif %}""",
    ("<|return|>", "<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|constrain|>", "<|call|>"),
)
GLM = Family(  # zai-org/GLM-4.5: calls in a format that nothing here reads
    """\
[gMASK]<sop>{%- if tools %}<|system|>{% for tool in tools %}{{ tool | tojson }}{% endfor %}{%- endif %}
{%- for m in messages %}
{%- if m.role == 'user' %}<|user|>{{ m.content }}{% elif m.role == 'system' %}<|system|>{{ m.content }}
{%- elif m.role == 'tool' %}<|observation|><tool_response>{{ m.content }}</tool_response>
{%- else %}<|assistant|>{{ m.content }}{% for call in m.tool_calls or [] %}
<tool_call>{{ call.function.name }}{% for k, v in call.function.arguments.items() %}
<arg_key>{{ k }}</arg_key><arg_value>{{ v }}</arg_value>{% endfor %}</tool_call>{% endfor %}{% endif %}{%- endfor %}
{%- if add_generation_prompt %}<|assistant|>{% endif %}""",
    ("<|user|>", "[gMASK]", "<sop>", "<|system|>", "<|assistant|>", "<|observation|>"),
    ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<arg_key>", "<arg_value>"),
)
FAMILIES = {
    "chatml": CHATML,
    "qwen": QWEN,
    "llama": LLAMA,
    "mistral": MISTRAL,
    "granite": GRANITE,
    "phi": PHI,
    "gemma": GEMMA,
    "deepseek": DEEPSEEK,
    "gpt-oss": GPT_OSS,
    "glm": GLM,
}


def small_tokenizer(family: Family, kind: str = "bytes") -> Any:
    """A tokenizer of one of the common kinds, with a family's marks and template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = [chr(code) for code in range(32, 127)]
    words: dict[str, int] = {token: place for place, token in enumerate(["<unk>", *family.special, *family.plain])}
    if kind == "bytes":  # like GPT-2, Llama 3, Qwen
        vocabulary = {char: place for place, char in enumerate(bytes_to_unicode().values())}
        backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
    elif kind == "pieces":  # like Llama 2, Gemma: a space is a sign, and the marks are in the vocabulary
        pieces = [*words, *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", *letters]
        vocabulary = {token: place for place, token in enumerate(dict.fromkeys(pieces))}
        backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True, unk_token="<unk>"))
        backend.normalizer = normalizers.Replace(" ", "\u2581")
        backend.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    elif kind == "unigram":  # a mark is the likeliest piece of its own text
        scores = [("<unk>", 0.0), *((token, 0.0) for token in words if token != "<unk>"), ("\u2581", -1.0)]
        scores += [(letter, -1.0) for letter in letters if letter not in words]
        backend = Tokenizer(models.Unigram(scores, unk_id=0, byte_fallback=False))
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        backend.decoder = decoders.Metaspace(prepend_scheme="first", split=False)
    else:
        backend = Tokenizer(models.WordLevel(vocab=words, unk_token="<unk>"))
        backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens(list(family.special))
    backend.add_tokens([AddedToken(token, normalized=False, special=False) for token in family.plain])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=family.special[0],
        bos_token=family.special[1],
        chat_template=family.template,
    )
