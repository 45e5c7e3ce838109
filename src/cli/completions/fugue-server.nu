# Completes fugue-server in nushell. What completed other commands before still does.
const fugue_server = "fugue-server"
let fugue_before = ($env.config.completions?.external?.completer? | default null)
$env.config.completions.external.enable = true
$env.config.completions.external.completer = {|words|
    if ($words | first) == $fugue_server {
        ^fugue-server complete (($words | length) - 1) -- ...$words
            | complete | get stdout | lines
            | each {|line| $line | split row "\t" | { value: $in.0, description: ($in.1? | default "") } }
    } else if $fugue_before != null {
        do $fugue_before $words
    }
}
