# Ruleset bundled with tflint. Other rulesets are plugins that must be downloaded.
plugin "terraform" {
  enabled = true
  preset  = "recommended"
}

# Rules beyond the preset, for readability.
rule "terraform_documented_variables" {
  enabled = true
}

rule "terraform_documented_outputs" {
  enabled = true
}

rule "terraform_naming_convention" {
  enabled = true
}

rule "terraform_unused_required_providers" {
  enabled = true
}

rule "terraform_comment_syntax" {
  enabled = true
}
