//! x
fn main() {
    for (_, crd) in amishare::api::crd::all() { print!("{}", amishare::api::crd::to_yaml(&crd).unwrap_or_default()); }
}
