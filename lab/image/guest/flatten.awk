# Flattens the subset of YAML that cloud-init files are written in: one line "path<TAB>value" per scalar.
#
# Understood: block maps and lists, plain and quoted scalars, block scalars (| and >, with - or +), flow lists and
# maps on one line (so JSON on one line too), comments. Not: anchors, tags, multi-line plain or flow values.
# In values a backslash is written as two and a newline as \n, as printf %b reads them.

function trim(s) { sub(/^[ \t]+/, "", s); sub(/[ \t]+$/, "", s); return s }

function escape(s) { gsub(/\\/, "\\\\", s); gsub(/\n/, "\\n", s); return s }

function path(    i, p) {
    if (depth == 0) return ""
    p = key[1]
    for (i = 2; i <= depth; i++) p = p "/" key[i]
    return p
}

function emit(where, value) { printf "%s\t%s\n", where, escape(value) }

function unquote(s,    q, i, c, out) {
    q = substr(s, 1, 1)
    s = substr(s, 2, length(s) - 2)
    if (q == "'") { gsub(/''/, "'", s); return s }
    for (i = 1; i <= length(s); i++) {
        c = substr(s, i, 1)
        if (c == "\\") {
            c = substr(s, ++i, 1)
            if (c == "n") c = "\n"
            else if (c == "t") c = "\t"
        }
        out = out c
    }
    return out
}

# Length of the quoted scalar that begins s, quotes included; 0 when it does not end.
function quoted_length(s,    q, i, c) {
    q = substr(s, 1, 1)
    for (i = 2; i <= length(s); i++) {
        c = substr(s, i, 1)
        if (q == "\"" && c == "\\") i++
        else if (c == q) {
            if (q == "'" && substr(s, i + 1, 1) == "'") i++
            else return i
        }
    }
    return 0
}

function scalar(s) {
    s = trim(s)
    if (s ~ /^["']/) return unquote(substr(s, 1, quoted_length(s)))
    sub(/[ \t]+#.*$/, "", s)
    return (s == "null" || s == "~") ? "" : s
}

# Takes one flow value off the global `rest`; ends before , ] or } at its own level.
function flow(where,    c, n, k, count) {
    rest = trim(rest)
    c = substr(rest, 1, 1)
    if (c == "[" || c == "{") {
        rest = trim(substr(rest, 2))
        count = 0
        while (rest != "" && rest !~ /^[]}]/) {
            k = count++
            if (c == "{") k = flow_key()
            flow(where == "" ? k : where "/" k)
            rest = trim(rest)
            if (rest ~ /^,/) rest = trim(substr(rest, 2))
        }
        rest = substr(rest, 2)
    } else if (c == "\"" || c == "'") {
        n = quoted_length(rest)
        emit(where, unquote(substr(rest, 1, n)))
        rest = substr(rest, n + 1)
    } else {
        n = match(rest, /[],}]/)
        if (n == 0) n = length(rest) + 1
        emit(where, scalar(substr(rest, 1, n - 1)))
        rest = substr(rest, n)
    }
}

function flow_key(    n, k) {
    if (rest ~ /^["']/) {
        n = quoted_length(rest)
        k = unquote(substr(rest, 1, n))
        rest = substr(rest, n + 1)
        sub(/^[ \t]*:/, "", rest)
    } else {
        n = index(rest, ":")
        k = trim(substr(rest, 1, n - 1))
        rest = substr(rest, n + 1)
    }
    return k
}

# Enters an item of kind "m" (map) or "l" (list) written at column n.
function enter(n, kind, name) {
    while (depth > 0 && (column[depth] > n || (column[depth] == n && kinds[depth] == "l" && kind == "m"))) depth--
    if (!(depth > 0 && column[depth] == n && kinds[depth] == kind)) {
        depth++
        column[depth] = n
        kinds[depth] = kind
        key[depth] = -1
    }
    key[depth] = (kind == "l") ? key[depth] + 1 : name
}

function end_block(    text) {
    if (!in_block) return
    in_block = 0
    text = block
    if (block_chomp != "+") sub(/\n+$/, "", text)
    if (block_chomp == "" && text != "") text = text "\n"
    emit(block_path, text)
}

function begin_block(style, n) {
    in_block = 1
    block = ""
    block_indent = -1
    block_parent = n
    block_path = path()
    block_fold = (substr(style, 1, 1) == ">")
    block_chomp = (style ~ /-/) ? "-" : (style ~ /\+/) ? "+" : ""
}

function take_block(line,    n) {
    n = match(line, /[^ ]/) - 1
    if (n >= 0 && block_indent < 0) {
        if (n <= block_parent) return 0
        block_indent = n
    }
    if (n >= 0 && n < block_indent) return 0
    line = (n < 0) ? "" : substr(line, block_indent + 1)
    if (block_fold && block != "" && line != "") sub(/\n$/, " ", block)
    block = block line "\n"
    return 1
}

function take_value(value, n) {
    value = trim(value)
    if (value ~ /^[|>][0-9+-]*$/) begin_block(value, n)
    else if (value ~ /^[[{]/) { rest = value; flow(path()) }
    else if (value != "" && value !~ /^#/) emit(path(), scalar(value))
}

function take_line(text, n,    c, size) {
    while (text ~ /^-([ \t]|$)/) {
        enter(n, "l", "")
        parent = n
        c = substr(text, 2)
        text = trim(c)
        match(c, /^[ \t]*/)
        n += 1 + RLENGTH
    }
    if (text ~ /^["']/ && substr(text, quoted_length(text) + 1) ~ /^[ \t]*:([ \t]|$)/) {
        size = quoted_length(text)
        enter(n, "m", unquote(substr(text, 1, size)))
        c = substr(text, size + 1)
        sub(/^[ \t]*:/, "", c)
        take_value(c, n)
    } else if (text !~ /^["'[{]/ && match(text, /:([ \t]|$)/)) {
        c = substr(text, RSTART + 1)
        enter(n, "m", trim(substr(text, 1, RSTART - 1)))
        take_value(c, n)
    } else take_value(text, parent)
}

{
    sub(/\r$/, "")
    if (in_block) {
        if (take_block($0)) next
        end_block()
    }
    if ($0 ~ /^[ \t]*(#|$)/ || $0 ~ /^(---|\.\.\.)/) next
    match($0, /[^ ]/)
    parent = RSTART - 1
    take_line(trim($0), RSTART - 1)
}

END { end_block() }
